import {
  ConnectError,
  type InstanceId,
  parseInstanceId,
  parseSessionId,
  type SessionId,
  toConnectError,
} from "@cluster-connect/protocol";
import { forwardStream } from "../../forward.ts";
import type { IncomingStream } from "../../incoming.ts";
import { createResumeRegistry, type ResumeRegistry } from "../../resume-registry.ts";
import { acceptSession, dialSession, type Session } from "../../session.ts";
import { createStreamOpener, type StreamOpener } from "../../stream-opener.ts";
import { supervise } from "../../supervise.ts";
import { createFakeClock, type FakeClock } from "../fake-clock.ts";
import { type MemoryChannelPair, memoryChannelPair } from "../memory-channel.ts";
import { createCountingSecrets } from "../session-pair.ts";
import { createTestSlabs } from "../slabs.ts";
import type { SeededRandom } from "./random.ts";

/** How bad the network is; each seed draws its own. */
export interface Weather {
  readonly maxDelayMs: number;
  /** Messages are cut and joined at random. */
  readonly reshape: boolean;
}

interface Relay {
  readonly instanceId: InstanceId;
  readonly agents: Map<InstanceId, Session>;
  readonly sessions: Set<Session>;
  readonly channels: Set<MemoryChannelPair>;
  up: boolean;
}

interface Agent {
  readonly registry: ResumeRegistry;
  readonly life: AbortController;
}

/** A CLI, relays and agents in one process, with every fault one can think of at hand. */
export interface World {
  readonly clock: FakeClock;
  readonly opener: StreamOpener;
  readonly registries: readonly ResumeRegistry[];
  readonly relayCount: number;
  /** How often a stream went on over another channel. */
  readonly resumes: number;
  cutOne(): void;
  /** A channel that forwards nothing for so long; nobody is told. */
  stallOne(forMs: number): void;
  /** Every channel of a relay is gone, and nobody reaches it for so long. */
  killRelay(index: number, downMs: number): void;
  /** An agent is gone with every stream it held; another one takes its place. */
  killAgent(): void;
  /** A relay says GOAWAY to everybody. */
  drainRelay(index: number, deadlineMs: number): void;
  /** Open streams of every session that is alive: a leak when nothing should be open. */
  openStreams(): number;
  stop(): Promise<void>;
}

export function createWorld(
  random: SeededRandom,
  weather: Weather,
  options: {
    readonly graceMs: number;
    readonly onStream: (incoming: IncomingStream, registry: ResumeRegistry, instanceId: InstanceId) => void;
  },
): World {
  const clock = createFakeClock();
  const stopped = new AbortController();
  const secrets = { clock, secret: createCountingSecrets(), slabs: createTestSlabs() };
  const relays = Array.from({ length: random.integer(1, 2) }, (_, index) => createRelay(index));
  const agents: Agent[] = [];
  let sessionCount = 0;
  let resumes = 0;

  function createRelay(index: number): Relay {
    return {
      instanceId: parseInstanceId(`relay-0${index}`),
      agents: new Map(),
      sessions: new Set(),
      channels: new Set(),
      up: true,
    };
  }

  function nextSessionId(): SessionId {
    sessionCount += 1;
    return parseSessionId(`session-${sessionCount}`);
  }

  /** A channel to a relay, and the relay's session over it. */
  function connect(relay: Relay): MemoryChannelPair {
    if (!relay.up) throw new ConnectError("CC_RELAY_UNREACHABLE", "the relay is down");
    const channel = memoryChannelPair(
      {
        delayMs: () => random.integer(0, weather.maxDelayMs),
        ...(weather.reshape ? { reshape: (bytes) => cut(bytes, random) } : {}),
      },
      { clock },
    );
    relay.channels.add(channel);
    const session = acceptSession(
      channel.acceptor,
      {
        role: "relay",
        instanceId: relay.instanceId,
        software: "simulator",
        authenticate: (hello) => {
          if (hello.role === "agent") {
            relay.agents.get(hello.instanceId)?.close();
            relay.agents.set(hello.instanceId, session);
          }
          return Promise.resolve({ sessionId: nextSessionId() });
        },
        onStream: (incoming) => route(relay, incoming),
      },
      secrets,
    );
    relay.sessions.add(session);
    void session.closed.then(() => {
      relay.sessions.delete(session);
      relay.channels.delete(channel);
      for (const [instanceId, agent] of relay.agents) if (agent === session) relay.agents.delete(instanceId);
    });
    return channel;
  }

  function route(relay: Relay, incoming: IncomingStream): void {
    const { request } = incoming;
    const ready = [...relay.agents.values()].filter((session) => session.state === "open");
    const agent =
      request.kind === "resume"
        ? ready.find((session) => session.peer?.instanceId === request.resume.instanceId)
        : ready.length > 0
          ? random.pick(ready)
          : undefined;
    if (agent === undefined) {
      incoming.reject("CC_AGENT_OFFLINE", "no agent is connected");
      return;
    }
    try {
      forwardStream(incoming, agent, request);
    } catch (error) {
      const { code, message } = toConnectError(error);
      incoming.reject(code, message);
    }
  }

  function keepUp(dial: () => Session, signal: AbortSignal, onReady: (session: Session) => void = () => {}): void {
    const backoff = { baseDelayMs: 100, maxDelayMs: 2_000 };
    supervise(() => Promise.resolve().then(dial), { signal, onReady, backoff }, { clock, random: random.next }).catch(
      () => {},
    );
  }

  function startAgent(): void {
    const instanceId = parseInstanceId(`agent-0${agents.length}`);
    const registry = createResumeRegistry({}, { clock });
    const agent: Agent = { registry, life: new AbortController() };
    agents.push(agent);
    const signal = AbortSignal.any([stopped.signal, agent.life.signal]);
    const onStream = (incoming: IncomingStream): void => options.onStream(incoming, registry, instanceId);
    for (const relay of relays) {
      const hello = { role: "agent", instanceId, software: "simulator", onStream } as const;
      keepUp(() => dialSession(connect(relay).dialer, hello, secrets), signal);
    }
  }

  const opener = createStreamOpener(
    {
      graceMs: options.graceMs,
      onResumed() {
        resumes += 1;
      },
    },
    { clock, random: random.next, secret: secrets.secret },
  );
  keepUp(
    () =>
      dialSession(
        connect(random.pick(relays)).dialer,
        { role: "cli", instanceId: parseInstanceId("cli-0001"), software: "simulator" },
        secrets,
      ),
    stopped.signal,
    (session) => opener.use(session),
  );
  const agentCount = random.integer(1, 2);
  for (let index = 0; index < agentCount; index += 1) startAgent();

  const channels = (): MemoryChannelPair[] => relays.flatMap((relay) => [...relay.channels]);

  return {
    clock,
    opener,
    get registries() {
      return agents.map((agent) => agent.registry);
    },
    relayCount: relays.length,
    get resumes() {
      return resumes;
    },
    cutOne() {
      const all = channels();
      if (all.length > 0) random.pick(all).cut();
    },
    stallOne(forMs) {
      const all = channels();
      if (all.length === 0) return;
      const channel = random.pick(all);
      channel.stall();
      clock.setTimer(forMs, () => channel.unstall());
    },
    killRelay(index, downMs) {
      const relay = relays[index];
      if (relay === undefined || !relay.up) return;
      relay.up = false;
      for (const channel of [...relay.channels]) channel.cut();
      clock.setTimer(downMs, () => {
        relay.up = true;
      });
    },
    killAgent() {
      const alive = agents.filter((agent) => !agent.life.signal.aborted);
      const agent = random.pick(alive);
      agent.life.abort();
      agent.registry.close();
      startAgent();
    },
    drainRelay(index, deadlineMs) {
      for (const session of relays[index]?.sessions ?? []) session.goaway({ deadlineMs });
    },
    openStreams: () =>
      relays.flatMap((relay) => [...relay.sessions]).reduce((sum, session) => sum + session.counters.openStreams, 0),
    async stop() {
      stopped.abort();
      opener.close();
      for (const { registry } of agents) registry.close();
      await clock.advance(5_000);
      for (const { registry } of agents) registry.close();
    },
  };
}

function cut(bytes: Uint8Array, random: SeededRandom): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  let offset = 0;
  while (offset < bytes.length) {
    const length = random.chance(0.3) ? random.integer(1, 40) : random.integer(1, 70_000);
    pieces.push(bytes.subarray(offset, offset + length));
    offset += length;
  }
  return pieces;
}
