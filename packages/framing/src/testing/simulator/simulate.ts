import { type CorrelationId, parseCorrelationId } from "@cluster-connect/protocol";
import { strike } from "./faults.ts";
import { breach, bytesRead, causeless, createFlow, type Flow, finished, useEnd } from "./flow.ts";
import { createSeededRandom, type SeededRandom } from "./random.ts";
import { createWorld, type World } from "./world.ts";

/** Counts of one run; enough to see that the run tested something. */
export interface SimulationReport {
  readonly seed: number;
  readonly streams: number;
  readonly finished: number;
  readonly reset: number;
  readonly bytes: number;
  readonly faults: number;
  /** How often a stream went on over another channel. */
  readonly resumes: number;
  /** How often a stream went through two relays. */
  readonly handedToPeers: number;
  /** How often a stream was opened again, because no answer had come. */
  readonly reopened: number;
  readonly virtualMs: number;
}

/** The law was broken; the message has the seed that repeats it. */
export class LawBroken extends Error {
  override readonly name = "LawBroken";
}

const LONG_GRACE_MS = 60_000;
const FAULT_TIME_MS = 30_000;
/** Runs with many streams. */
const MANY = 0.02;
const TWO_AT_ONCE = 0.25;
/** Longer than any grace time, and than a dead channel goes unnoticed. */
const CALM_TIME_MS = 150_000;

/**
 * Runs CLI, relays and agents through random faults and checks the law. Written bytes are read, in order, once, or both
 * ends learn of the reset. No channel carries a frame that the protocol does not allow. Nothing is left in the end.
 *
 * @throws LawBroken naming the seed.
 */
export async function simulate(seed: number): Promise<SimulationReport> {
  try {
    return await run(seed);
  } catch (error) {
    if (error instanceof LawBroken) throw error;
    throw new LawBroken(`seed ${seed}: ${String(error)}`, { cause: error });
  }
}

async function run(seed: number): Promise<SimulationReport> {
  const random = createSeededRandom(seed);
  // Some runs have a fault now and then, some hardly a moment without.
  const calmMs = random.pick([300, 1_500, 6_000]);
  const graceMs = random.chance(0.2) ? 1_500 : LONG_GRACE_MS;
  const flows = new Map<CorrelationId, Flow>();
  const world = createWorld(random, {
    graceMs,
    onStream(stream, { request }) {
      const flow = request.kind === "open" ? flows.get(request.open.correlationId) : undefined;
      if (flow !== undefined) flow.far.push(useEnd(stream, flow, flow.down, { clock: world.clock, random }));
    },
  });

  const count = random.chance(MANY) ? random.integer(20, 60) : random.integer(1, 6);
  for (let index = 0; index < count; index += 1) {
    const id = parseCorrelationId(index.toString(16).padStart(16, "0"));
    const flow = createFlow(random);
    flows.set(id, flow);
    void start(flow, id, world, random);
    await world.clock.advance(random.integer(0, 300));
  }
  let faults = 0;
  while (world.clock.monotonicNow() < FAULT_TIME_MS && ![...flows.values()].every(isOver)) {
    await world.clock.advance(random.integer(5, calmMs));
    const atOnce = random.chance(TWO_AT_ONCE) ? 2 : 1;
    faults += atOnce;
    for (let count = 0; count < atOnce; count += 1) strike(world, random);
  }
  await world.clock.advance(CALM_TIME_MS);
  // With a short grace time, or little memory, streams may be lost to a fault.
  judge(seed, flows, world, { mayLose: graceMs < LONG_GRACE_MS || !world.isRoomy });
  const virtualMs = world.clock.monotonicNow();
  await world.stop();
  if (world.clock.pendingTimers > 0) broken(seed, `${world.clock.pendingTimers} timers are left`);
  const all = [...flows.values()];
  const done = all.filter(finished).length;
  return {
    seed,
    streams: count,
    finished: done,
    reset: count - done,
    bytes: all.reduce((sum, flow) => sum + bytesRead(flow), 0),
    faults,
    resumes: world.resumes,
    handedToPeers: world.relays.reduce((sum, relay) => sum + relay.handedToPeers, 0),
    reopened: all.reduce((sum, flow) => sum + Math.max(0, flow.far.length - 1), 0),
    virtualMs,
  };
}

async function start(flow: Flow, correlationId: CorrelationId, world: World, random: SeededRandom): Promise<void> {
  const cancel = new AbortController();
  if (random.chance(0.08)) {
    flow.brokenOff = true;
    world.clock.setTimer(random.integer(0, 5_000), () => cancel.abort());
  }
  const request = { cluster: world.cluster, upstream: "kubernetes", correlationId };
  try {
    const near = await world.opener.open(request, { signal: cancel.signal, reopen: random.chance(0.5) });
    flow.near = useEnd(near, flow, flow.up, { clock: world.clock, random });
  } catch {
    flow.givenUp = cancel.signal.aborted;
  }
}

function isOver({ near, givenUp }: Flow): boolean {
  return givenUp || near?.stream.destroyed === true;
}

function judge(
  seed: number,
  flows: ReadonlyMap<CorrelationId, Flow>,
  world: World,
  { mayLose }: { readonly mayLose: boolean },
): void {
  if (world.network.breach !== undefined) broken(seed, world.network.breach);
  for (const [id, flow] of flows) {
    const what = breach(flow) ?? (mayLose ? undefined : causeless(flow, world));
    if (what !== undefined) broken(seed, `stream ${id} ${what}`);
  }
  const left = world.leftOver();
  if (left !== undefined) broken(seed, left);
}

function broken(seed: number, what: string): never {
  throw new LawBroken(`seed ${seed}: ${what}`);
}
