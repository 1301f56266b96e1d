import { type Chain, HOPS, type HopName } from "../chains/chain.ts";
import { type Echo, openEcho } from "../client.ts";
import type { Lab } from "../lab.ts";
import type { Question, Sample } from "../measure.ts";
import type { MemoryReport } from "../programs/attend/memory-report.ts";

const STREAMS = 5_000;
/** Opened before: code is compiled and pools are filled by then. */
const WARM_UP_STREAMS = 1_000;
const AT_ONCE = 50;
const KIB = 1_024;

const LABELS: Readonly<Record<HopName, string>> = { near: "opener", middle: "relay", far: "agent" };

/** The cost of an idle stream for each process: 5,000 of them, each of which has carried one byte both ways. */
export async function idle(lab: Lab): Promise<Question> {
  const units = HOPS.flatMap((hop) => [
    [`${LABELS[hop]} resident`, "KiB/stream"],
    [`${LABELS[hop]} held by JavaScript`, "KiB/stream"],
  ]);
  return {
    name: "idle",
    warmUp: false,
    units: Object.fromEntries(units),
    subjects: [{ name: "connect", run: () => run(lab) }],
    targets: [
      { metric: "opener resident", atMost: 8 },
      { metric: "relay resident", atMost: 3 },
      { metric: "agent resident", atMost: 8 },
    ],
  };
}

async function run(lab: Lab): Promise<Sample> {
  const chain = await lab.freshConnect();
  const echoes: Echo[] = [];
  try {
    await openMany(chain.ports.quiet, WARM_UP_STREAMS, echoes);
    const before = await memoryOf(chain);
    await openMany(chain.ports.quiet, STREAMS, echoes);
    const after = await memoryOf(chain);
    return Object.fromEntries(
      HOPS.flatMap((hop) => {
        const grown = (field: keyof MemoryReport): number =>
          ((after.get(hop)?.[field] ?? 0) - (before.get(hop)?.[field] ?? 0)) / STREAMS / KIB;
        return [
          [`${LABELS[hop]} resident`, grown("residentBytes")],
          [`${LABELS[hop]} held by JavaScript`, grown("heldBytes")],
        ];
      }),
    );
  } finally {
    for (const echo of echoes) echo.close();
    await chain.stop();
  }
}

async function openMany(port: number, count: number, into: Echo[]): Promise<void> {
  for (let opened = 0; opened < count; opened += AT_ONCE) {
    const some = Array.from({ length: AT_ONCE }, () => openEcho(port));
    into.push(...some);
    await Promise.all(some.map((echo) => echo.roundTrip(Buffer.from([1]))));
  }
}

async function memoryOf(chain: Chain): Promise<ReadonlyMap<HopName, MemoryReport>> {
  const found = new Map<HopName, MemoryReport>();
  for (const hop of HOPS) {
    const running = chain.hops[hop];
    if (running !== undefined) found.set(hop, await running.memory());
  }
  return found;
}
