import type { FrameType } from "@cluster-connect/protocol";
import type { SeededRandom } from "./random.ts";
import type { World } from "./world.ts";

interface Fault {
  /** How often it comes, against the others. */
  readonly weight: number;
  readonly strike: (world: World, random: SeededRandom) => void;
}

/** The frames whose loss leaves the two ends with different views. */
const TELLING: readonly FrameType[] = [
  "OPEN",
  "ACCEPT",
  "REJECT",
  "RESUME",
  "RESUMED",
  "DATA",
  "WINDOW",
  "FIN",
  "RESET",
  "GOAWAY",
  "HOPACK",
  "READY",
];

/** The longest time without a relay. */
const AWAY_MS = 45_000;

const FAULTS: readonly Fault[] = [
  { weight: 12, strike: ({ network }) => network.cutOne() },
  { weight: 8, strike: ({ network }, random) => network.stallOne(random.integer(50, 20_000)) },
  { weight: 14, strike: ({ network }, random) => network.trap(random.pick(TELLING), random.chance(0.5)) },
  { weight: 5, strike: ({ relays }, random) => random.pick(relays).kill("process", random.integer(0, 5_000)) },
  { weight: 2, strike: ({ relays }, random) => random.pick(relays).kill("power", random.integer(0, 5_000)) },
  {
    weight: 4,
    strike: ({ relays }, random) => random.pick(relays).goaway({ deadlineMs: random.integer(100, 10_000) }),
  },
  {
    weight: 3,
    strike: ({ relays }, random) => random.pick(relays).restart(random.integer(100, 10_000), random.integer(0, 3_000)),
  },
  { weight: 1, strike: (world, random) => world.replaceAgent((agent) => agent.kill(), random.chance(0.7)) },
  {
    weight: 1,
    strike: (world, random) => world.replaceAgent((agent) => agent.drain(random.integer(100, 10_000)), false),
  },
  { weight: 1, strike: ({ relays }, random) => random.pick(relays).kill("process", random.integer(5_000, AWAY_MS)) },
  { weight: 1, strike: ({ relays }, random) => random.pick(relays).flap(random.integer(3, 16), 3_000) },
  {
    weight: 4,
    strike: ({ network, processes }, random) => network.freeze(random.pick(processes), random.integer(50, 15_000)),
  },
  { weight: 2, strike: (world) => world.intrude() },
];

const TOTAL = FAULTS.reduce((sum, { weight }) => sum + weight, 0);

/** One fault, drawn by weight. */
export function strike(world: World, random: SeededRandom): void {
  let left = random.integer(1, TOTAL);
  for (const { weight, strike: hit } of FAULTS) {
    left -= weight;
    if (left > 0) continue;
    hit(world, random);
    return;
  }
}
