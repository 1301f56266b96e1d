import type { Clock } from "@cluster-connect/base";
import { parseInstanceId, parseSessionId } from "@cluster-connect/protocol";
import type { Budget } from "../bytes/budget.ts";
import { type Forward, forwardStream } from "../forward/forward.ts";
import type { SessionDeps } from "../session/deps.ts";
import type { SessionOptions } from "../session/options.ts";
import { acceptSession, dialSession, type Session } from "../session/session.ts";
import type { IncomingStream } from "../stream/incoming.ts";
import { type MemoryChannelOptions, type MemoryChannelPair, memoryChannelPair } from "./memory-channel.ts";
import { createCountingSecrets, createIncomingQueue, type IncomingQueue } from "./session-pair.ts";
import { createTestSlabs } from "./slabs.ts";

/** CLI, relay and agent in one process, joined by two memory channels. */
export interface SessionChain {
  readonly cli: Session;
  readonly agent: Session;
  /** The relay's sides of the two sessions. */
  readonly relayToCli: Session;
  readonly relayToAgent: Session;
  readonly cliChannel: MemoryChannelPair;
  readonly agentChannel: MemoryChannelPair;
  /** Streams that reached the agent. */
  readonly incoming: IncomingQueue;
  /** Streams that the relay forwarded, in order. */
  readonly forwards: readonly Forward[];
}

export interface SessionChainOptions {
  readonly channel?: MemoryChannelOptions;
  readonly session?: Partial<Pick<SessionOptions, "limits" | "keepalive">>;
  /** Memory of the relay for the CLI. */
  readonly relayBuffers?: Budget;
  /** How the relay forwards. */
  readonly forward?: (stream: IncomingStream, target: Session) => Forward;
}

export function createSessionChain(options: SessionChainOptions, deps: { readonly clock: Clock }): SessionChain {
  const sessionDeps: SessionDeps = { clock: deps.clock, secret: createCountingSecrets(), slabs: createTestSlabs() };
  const cliChannel = memoryChannelPair(options.channel ?? {}, deps);
  const agentChannel = memoryChannelPair(options.channel ?? {}, deps);
  const incoming = createIncomingQueue();
  const forwards: Forward[] = [];
  const plain = (stream: IncomingStream, target: Session): Forward => forwardStream(stream, target, stream.request);
  const { forward = plain } = options;
  const common = { software: "test", ...options.session };
  const relay = {
    ...common,
    role: "relay" as const,
    instanceId: parseInstanceId("relay-01"),
    authenticate: () => Promise.resolve({ sessionId: parseSessionId("session-1") }),
  };
  const relayToAgent = acceptSession(agentChannel.acceptor, relay, sessionDeps);
  const relayToCli = acceptSession(
    cliChannel.acceptor,
    {
      ...relay,
      ...(options.relayBuffers === undefined ? {} : { budgets: { buffers: options.relayBuffers } }),
      onStream: (stream: IncomingStream) => forwards.push(forward(stream, relayToAgent)),
    },
    sessionDeps,
  );
  const agent = dialSession(
    agentChannel.dialer,
    {
      ...common,
      role: "agent",
      instanceId: parseInstanceId("agent-01"),
      onStream: (stream: IncomingStream) => incoming.push(stream),
    },
    sessionDeps,
  );
  const cli = dialSession(
    cliChannel.dialer,
    { ...common, role: "cli", instanceId: parseInstanceId("cli-0001") },
    sessionDeps,
  );
  return { cli, agent, relayToCli, relayToAgent, cliChannel, agentChannel, incoming, forwards };
}
