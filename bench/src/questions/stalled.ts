import { setTimeout as delay } from "node:timers/promises";
import type { Chain } from "../chains/chain.ts";
import { download, openStalled } from "../client.ts";
import type { Lab } from "../lab.ts";
import type { Question, Sample } from "../measure.ts";
import { residentMib } from "../process/usage.ts";

const STREAMS = 50;
const MIB = 1_048_576;
/** Bytes that each stream would send; far more than all windows and buffers on the way. */
const STREAM_BYTES = 256 * MIB;
const WARM_UP_BYTES = 64 * MIB;
const BESIDE_BYTES = 128 * MIB;
const STALL_MS = 1_500;
const LOOK_EVERY_MS = 100;

/** How much the relay grows by 50 readers that never read, and how fast one that does goes beside them. */
export async function stalled(lab: Lab): Promise<Question> {
  return {
    name: "stalled",
    warmUp: false,
    units: { "relay growth": "MiB", "opener growth": "MiB", "agent growth": "MiB", "a reader beside them": "MiB/s" },
    subjects: [{ name: "connect", run: () => run(lab) }],
    targets: [{ metric: "relay growth", atMost: 32 }],
  };
}

async function run(lab: Lab): Promise<Sample> {
  const chain = await lab.freshConnect();
  const { bulk } = chain.ports;
  try {
    // Carrying bytes has a cost of its own: code, and one stream's share of buffers. It is there before.
    await download(bulk, WARM_UP_BYTES);
    const before = await sizes(chain, async (running) => (await running.memory()).residentBytes / MIB);
    const sockets = Array.from({ length: STREAMS }, () => openStalled(bulk, STREAM_BYTES));
    const largest = [...before];
    for (let waited = 0; waited < STALL_MS; waited += LOOK_EVERY_MS) {
      await delay(LOOK_EVERY_MS);
      const now = await sizes(chain, (running) => residentMib(running.pid));
      for (const [index, size] of now.entries()) largest[index] = Math.max(largest[index] ?? 0, size);
    }
    const startedAt = performance.now();
    await download(bulk, BESIDE_BYTES);
    const rate = BESIDE_BYTES / MIB / ((performance.now() - startedAt) / 1_000);
    for (const socket of sockets) socket.destroy();
    const [near = 0, middle = 0, far = 0] = largest.map((size, index) => size - (before[index] ?? 0));
    return { "relay growth": middle, "opener growth": near, "agent growth": far, "a reader beside them": rate };
  } finally {
    await chain.stop();
  }
}

async function sizes(
  { hops }: Chain,
  sizeOf: (running: NonNullable<Chain["hops"]["near"]>) => Promise<number>,
): Promise<readonly number[]> {
  const running = [hops.near, hops.middle, hops.far].filter((one) => one !== undefined);
  return await Promise.all(running.map(sizeOf));
}
