import { type ClusterId, parseClusterId, parseInstanceId, type Secret } from "@cluster-connect/protocol";
import { createStreamOpener, type StreamOpener } from "../../resume/opener.ts";
import { dialSession, type Session } from "../../session/session.ts";
import type { IncomingStream } from "../../stream/incoming.ts";
import type { MuxStream } from "../../stream/mux-stream.ts";
import { createFakeClock, type FakeClock } from "../fake-clock.ts";
import { createCountingSecrets } from "../session-pair.ts";
import { createTestSlabs } from "../slabs.ts";
import { createSimulatedAgent, type SimulatedAgent } from "./agent.ts";
import { createIntruder } from "./intruder.ts";
import { createNetwork, type Network } from "./network.ts";
import type { SeededRandom } from "./random.ts";
import { createSimulatedRelay, type SimulatedRelay } from "./relay.ts";
import { createStage, keepUp } from "./stage.ts";

/** A CLI, relays and agents in one process, with every fault one can think of at hand. */
export interface World {
  readonly clock: FakeClock;
  readonly network: Network;
  readonly cluster: ClusterId;
  readonly opener: StreamOpener;
  readonly relays: readonly SimulatedRelay[];
  /** How often a stream went on over another channel. */
  readonly resumes: number;
  /** Processes by their names: the relays, the agents that live, the CLI. */
  readonly processes: readonly string[];
  /** Whether an agent went, with the streams that it held. */
  readonly agentsWent: boolean;
  /** Whether every process has memory enough. */
  readonly isRoomy: boolean;
  /**
   * An agent goes, as it is told, and another one takes its place.
   *
   * @param follows whether the other one knows of it, as a process in the same folder does.
   */
  replaceAgent(leave: (agent: SimulatedAgent) => void, follows: boolean): void;
  /** An intruder asks for a stream. */
  intrude(): void;
  /** Things that are there and should not be when every stream has ended, in words. */
  leftOver(): string | undefined;
  stop(): Promise<void>;
}

export interface WorldOptions {
  readonly graceMs: number;
  /** An agent was given a stream that an opener opened. */
  readonly onStream: (stream: MuxStream, incoming: IncomingStream) => void;
}

/** Memory limit of a relay or an end in runs that are short of it. It is little more than one burst of one hop. */
const FEW_BYTES = 600_000;
const PLENTY_BYTES = 64 * 1_048_576;

export function createWorld(random: SeededRandom, options: WorldOptions): World {
  const clock = createFakeClock();
  const stopped = new AbortController();
  const weather = { maxDelayMs: random.pick([0, 5, 60]), reshape: random.chance(0.5) };
  const network = createNetwork(random, weather, { clock });
  const keys: Secret[] = [];
  const count = createCountingSecrets();
  const secret = (): Secret => {
    const key = count();
    keys.push(key);
    return key;
  };
  const scarce = { relay: random.chance(0.15), cli: random.chance(0.05), agent: random.chance(0.05) };
  const stage = createStage(
    { clock, random, network, deps: { clock, secret, slabs: createTestSlabs() }, stopped: stopped.signal },
    (name) => (scarce[kindOf(name)] ? FEW_BYTES : PLENTY_BYTES),
  );
  const cluster = parseClusterId("test");
  let resumes = 0;

  const relays = Array.from({ length: random.pick([1, 2, 2]) }, (_, index) => createSimulatedRelay(index, stage));
  for (const relay of relays) relay.join(relays.filter((other) => other !== relay));

  const agents: SimulatedAgent[] = [];
  const startAgent = (): void => {
    agents.push(createSimulatedAgent(agents.length, { ...options, relays }, stage));
  };
  const agentCount = random.integer(1, 2);
  for (let index = 0; index < agentCount; index += 1) startAgent();

  const opener = createStreamOpener(
    {
      graceMs: options.graceMs,
      onResumed() {
        resumes += 1;
      },
    },
    { clock, random: random.next, secret },
  );
  const cli = parseInstanceId("cli-0001");
  const hello = { role: "cli", instanceId: cli, software: "simulator", budgets: stage.budgetsOf(cli) } as const;
  let current: Session | undefined;
  const dial = (): Session => dialSession(random.pick(relays).reach(cli).dialer, hello, stage.deps);
  keepUp(stage, dial, {
    signal: stopped.signal,
    atStake: () => opener.counters.suspended > 0,
    onReady(session) {
      current = session;
      opener.use(session);
    },
  });
  const intruder = createIntruder(cluster, stage);

  function leftOver(): string | undefined {
    const sessions = [...relays.flatMap((relay) => relay.sessions()), ...agents.flatMap((agent) => agent.sessions())];
    if (current !== undefined) sessions.push(current);
    const open = sessions.reduce((sum, session) => sum + session.counters.openStreams, 0);
    if (open > 0) return `${open} streams are open`;
    const kept = agents.reduce((sum, { registry }) => sum + registry.counters.streams, opener.counters.streams);
    if (kept > 0) return `${kept} streams are kept`;
    if (stage.heldBytes > 0) return `${stage.heldBytes} bytes count as held`;
    return undefined;
  }

  return {
    clock,
    network,
    cluster,
    opener,
    relays,
    get resumes() {
      return resumes;
    },
    get processes() {
      const names = agents.filter(({ alive }) => alive).map(({ instanceId }) => instanceId);
      return [...relays.map(({ name }) => name), ...names, cli];
    },
    get agentsWent() {
      return agents.some(({ alive }) => !alive);
    },
    isRoomy: !Object.values(scarce).includes(true),
    replaceAgent(leave, follows) {
      const old = random.pick(agents.filter(({ alive }) => alive));
      leave(old);
      startAgent();
      const next = agents.at(-1);
      if (follows && next !== undefined) stage.successors.set(old.instanceId, next.instanceId);
    },
    intrude() {
      const key = keys.length > 0 && random.chance(0.5) ? random.pick(keys) : undefined;
      intruder.tryKey(random.pick(relays), key, random.integer(0, agents.length - 1));
    },
    leftOver: () => (intruder.got === undefined ? leftOver() : `a stranger was given ${intruder.got}`),
    async stop() {
      stopped.abort();
      opener.close();
      for (const { registry } of agents) registry.close();
      await clock.advance(5_000);
      for (const { registry } of agents) registry.close();
    },
  };
}

function kindOf(name: string): "relay" | "agent" | "cli" {
  if (name.startsWith("relay")) return "relay";
  return name.startsWith("agent") ? "agent" : "cli";
}
