import type { Clock } from "@cluster-connect/base";
import {
  parseClusterId,
  parseCorrelationId,
  parseInstanceId,
  parseSecret,
  parseSessionId,
} from "@cluster-connect/protocol";
import type { SessionDeps } from "../session/deps.ts";
import type { AcceptSessionOptions, DialOptions, OpenRequest } from "../session/options.ts";
import { acceptSession, dialSession, type Session } from "../session/session.ts";
import type { IncomingStream } from "../stream/incoming.ts";
import type { MuxStream } from "../stream/mux-stream.ts";
import { type MemoryChannelOptions, type MemoryChannelPair, memoryChannelPair } from "./memory-channel.ts";
import { createTestSlabs } from "./slabs.ts";

export interface SessionPairOptions {
  readonly channel?: MemoryChannelOptions;
  readonly dial?: Partial<DialOptions>;
  readonly accept?: Partial<AcceptSessionOptions>;
}

export interface SessionPair {
  readonly dialer: Session;
  readonly acceptor: Session;
  readonly channel: MemoryChannelPair;
  /** Streams that the peer of each side opened and that are not taken yet, in order. */
  readonly incoming: IncomingQueue;
}

/** A queue one can wait on. */
export interface IncomingQueue {
  push(incoming: IncomingStream): void;
  next(): Promise<IncomingStream>;
}

/** Secrets that count up: different from each other, the same in each run. */
export function createCountingSecrets(seed = 0): () => ReturnType<typeof parseSecret> {
  let count = seed;
  return () => {
    count += 1;
    return parseSecret(count.toString().padStart(43, "A"));
  };
}

export function createIncomingQueue(): IncomingQueue {
  const ready: IncomingStream[] = [];
  const waiting: Array<(incoming: IncomingStream) => void> = [];
  return {
    push(incoming) {
      const first = waiting.shift();
      if (first === undefined) ready.push(incoming);
      else first(incoming);
    },
    next() {
      const first = ready.shift();
      if (first !== undefined) return Promise.resolve(first);
      return new Promise((resolve) => waiting.push(resolve));
    },
  };
}

/** A CLI and a relay over a memory channel; both may open streams. */
export function sessionPair(options: SessionPairOptions, deps: { readonly clock: Clock }): SessionPair {
  const sessionDeps: SessionDeps = { clock: deps.clock, secret: createCountingSecrets(), slabs: createTestSlabs() };
  const channel = memoryChannelPair(options.channel ?? {}, deps);
  const incoming = createIncomingQueue();
  const common = { software: "test", onStream: (stream: IncomingStream) => incoming.push(stream) };
  const acceptor = acceptSession(
    channel.acceptor,
    {
      ...common,
      role: "relay",
      instanceId: parseInstanceId("relay-01"),
      authenticate: () => Promise.resolve({ sessionId: parseSessionId("session-1") }),
      ...options.accept,
    },
    sessionDeps,
  );
  const dialer = dialSession(
    channel.dialer,
    { ...common, role: "cli", instanceId: parseInstanceId("cli-0001"), ...options.dial },
    sessionDeps,
  );
  return { dialer, acceptor, channel, incoming };
}

/** An OPEN that says nothing special. */
export const TEST_OPEN: OpenRequest = {
  cluster: parseClusterId("test"),
  upstream: "kubernetes",
  correlationId: parseCorrelationId("0123456789abcdef"),
};

/** A stream from one side of a pair to the other, accepted. */
export async function openStream(
  opener: Session,
  incoming: IncomingQueue,
  request: Partial<OpenRequest> = {},
): Promise<readonly [near: MuxStream, far: MuxStream]> {
  const near = opener.open({ ...TEST_OPEN, ...request });
  const waiting = await incoming.next();
  const far = waiting.accept({ instanceId: parseInstanceId("agent-01"), graceMs: request.graceMs ?? 0 });
  return [near, far];
}
