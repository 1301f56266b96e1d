import type { Duplex } from "node:stream";
import { parseClusterId, parseCorrelationId } from "@cluster-connect/protocol";
import type { MuxStream } from "../../stream.ts";
import { createSeededRandom, type SeededRandom } from "./random.ts";
import { createWorld, type World } from "./world.ts";

/** What happened in one run; enough to see that a run tested something. */
export interface Report {
  readonly seed: number;
  readonly streams: number;
  readonly finished: number;
  readonly reset: number;
  readonly bytes: number;
  readonly faults: number;
  /** How often a stream went on over another channel. */
  readonly resumes: number;
  readonly virtualMs: number;
}

/** The law was broken; the message has the seed that repeats it. */
export class LawBroken extends Error {
  override readonly name = "LawBroken";
}

/** One direction of one stream, as its two ends see it. */
interface Direction {
  readonly written: Buffer;
  readonly read: Buffer[];
  sawEnd: boolean;
}

interface Flow {
  readonly up: Direction;
  readonly down: Direction;
  readonly near: MuxStream;
  far: MuxStream | undefined;
}

const FAULT_TIME_MS = 40_000;

/**
 * Runs CLI, relays and agents through random faults and checks the law: what was written is read, in order, once, or
 * both ends learn of the reset; and nothing is left in the end.
 *
 * @throws LawBroken naming the seed.
 */
export async function simulate(seed: number): Promise<Report> {
  const random = createSeededRandom(seed);
  const weather = { maxDelayMs: random.pick([0, 5, 60]), reshape: random.chance(0.5) };
  // Some runs have a fault now and then, some hardly a moment without.
  const calmMs = random.pick([300, 1_500, 6_000]);
  const graceMs = random.chance(0.2) ? 1_500 : 60_000;
  const flows = new Map<string, Flow>();
  const payloads = new Map<string, Direction>();

  const world = createWorld(random, weather, {
    graceMs,
    onStream(incoming, registry, instanceId) {
      const stream = registry.answer(incoming, { instanceId, graceMs });
      if (stream === undefined || incoming.request.kind !== "open") return;
      const id = incoming.request.open.correlationId;
      const flow = flows.get(id);
      const down = payloads.get(id);
      if (flow === undefined || down === undefined) return;
      flow.far = stream;
      drive(stream, down, flow.up, random, world);
    },
  });

  async function start(index: number): Promise<void> {
    const id = index.toString(16).padStart(16, "0");
    const up = newDirection(random);
    const down = newDirection(random);
    payloads.set(id, down);
    const near = await world.opener.open(
      { cluster: parseClusterId("test"), upstream: "kubernetes", correlationId: parseCorrelationId(id) },
      { signal: new AbortController().signal },
    );
    flows.set(id, { up, down, near, far: undefined });
    drive(near, up, down, random, world);
  }

  const count = random.integer(1, 6);
  let faults = 0;
  for (let index = 0; index < count; index += 1) {
    void start(index).catch(() => {});
    await world.clock.advance(random.integer(0, 300));
  }
  while (world.clock.now() < FAULT_TIME_MS && !allDone(flows, count)) {
    await world.clock.advance(random.integer(5, calmMs));
    faults += 1;
    fault(random, world);
  }
  await world.clock.advance(200_000);
  const report = judge(seed, flows, count, faults, world);
  await world.stop();
  if (world.clock.pendingTimers > 0) broken(seed, `${world.clock.pendingTimers} timers are left`);
  return report;
}

function fault(random: SeededRandom, world: World): void {
  const relay = random.integer(0, world.relayCount - 1);
  const kind = random.integer(0, 39);
  if (kind < 20) world.cutOne();
  else if (kind < 28) world.stallOne(random.integer(50, 20_000));
  else if (kind < 35) world.killRelay(relay, random.integer(0, 5_000));
  else if (kind === 39) world.killAgent();
  else world.drainRelay(relay, random.integer(100, 10_000));
}

function newDirection(random: SeededRandom): Direction {
  const length = random.pick([0, 1, random.integer(1, 2_000), random.integer(1, 900_000)]);
  return { written: random.bytes(length), read: [], sawEnd: false };
}

/** Writes one direction at random times and reads the other, now and then slowly. */
function drive(stream: Duplex, out: Direction, back: Direction, random: SeededRandom, world: World): void {
  let offset = 0;
  const writeNext = (): void => {
    if (stream.destroyed) return;
    if (offset >= out.written.length) {
      stream.end();
      return;
    }
    const chunk = out.written.subarray(offset, offset + random.integer(1, 100_000));
    offset += chunk.length;
    stream.write(chunk, () => {
      if (random.chance(0.5)) writeNext();
      else world.clock.setTimer(random.integer(1, 500), writeNext);
    });
  };
  stream.on("data", (chunk: Buffer) => {
    back.read.push(chunk);
    if (random.chance(0.05)) {
      stream.pause();
      world.clock.setTimer(random.integer(1, 3_000), () => stream.resume());
    }
  });
  stream.on("end", () => {
    back.sawEnd = true;
  });
  writeNext();
}

function allDone(flows: ReadonlyMap<string, Flow>, count: number): boolean {
  return flows.size === count && [...flows.values()].every(({ near }) => near.destroyed);
}

function judge(seed: number, flows: ReadonlyMap<string, Flow>, count: number, faults: number, world: World): Report {
  if (flows.size !== count) broken(seed, `${count - flows.size} streams were never opened`);
  let finished = 0;
  let bytes = 0;
  for (const [id, { up, down, near, far }] of flows) {
    for (const [name, way] of [["up", up] as const, ["down", down] as const]) {
      const read = Buffer.concat(way.read);
      bytes += read.length;
      if (!read.equals(way.written.subarray(0, read.length))) broken(seed, `stream ${id} ${name}: bytes differ`);
      if (way.sawEnd && read.length < way.written.length) broken(seed, `stream ${id} ${name}: ended short`);
    }
    const ends = [near, ...(far === undefined ? [] : [far])];
    if (ends.some((stream) => !stream.destroyed)) broken(seed, `stream ${id} has not ended`);
    if (up.sawEnd && down.sawEnd) finished += 1;
    else if (ends.some((stream) => stream.errored === null)) {
      broken(seed, `stream ${id}: one end did not learn of the reset`);
    }
  }
  const left = world.openStreams();
  if (left > 0) broken(seed, `${left} streams are left in the relays`);
  const kept = world.registries.reduce(
    (sum, registry) => sum + registry.counters.streams,
    world.opener.counters.streams,
  );
  if (kept > 0) broken(seed, `${kept} streams are still kept`);
  return {
    seed,
    streams: count,
    finished,
    reset: count - finished,
    bytes,
    faults,
    resumes: world.resumes,
    virtualMs: world.clock.now(),
  };
}

function broken(seed: number, what: string): never {
  throw new LawBroken(`seed ${seed}: ${what}`);
}
