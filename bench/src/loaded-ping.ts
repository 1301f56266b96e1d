import { setTimeout as delay } from "node:timers/promises";
import type { Chain } from "./chains/chain.ts";
import { openEcho } from "./client.ts";
import { percentile, type Sample } from "./measure.ts";
import type { Processes } from "./process/processes.ts";
import type { LoadSettings } from "./programs/load/settings.ts";
import { startProgram } from "./programs/settings.ts";

const MIB = 1_048_576;
/** As if a person typed: the next byte leaves a moment after the last one came back. */
const PAUSE_MS = 2;

/** Metrics of {@link pingUnderLoad}. */
export const LOADED_UNITS = { "1 byte p50": "ms", "1 byte p99": "ms", "bulk beside it": "MiB/s" } as const;

/** Round trips of one byte on a quiet stream while bulk runs beside it, four streams each way. */
export async function pingUnderLoad(chain: Chain, durationMs: number, processes: Processes): Promise<Sample> {
  const settings: LoadSettings = { port: chain.ports.bulk, up: 4, down: 4 };
  const { running: load } = await startProgram<string>("load", settings, processes);
  const echo = openEcho(chain.ports.quiet);
  const trips: number[] = [];
  const startedAt = performance.now();
  const before = Number(await load.ask("moved"));
  while (performance.now() - startedAt < durationMs) {
    const sentAt = performance.now();
    await echo.roundTrip(Buffer.from([1]));
    trips.push(performance.now() - sentAt);
    await delay(PAUSE_MS);
  }
  const moved = Number(await load.ask("moved")) - before;
  const seconds = (performance.now() - startedAt) / 1_000;
  echo.close();
  await load.stop();
  const sorted = trips.toSorted((a, b) => a - b);
  return {
    "1 byte p50": percentile(sorted, 0.5),
    "1 byte p99": percentile(sorted, 0.99),
    "bulk beside it": moved / MIB / seconds,
  };
}
