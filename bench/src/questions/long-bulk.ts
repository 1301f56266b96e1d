import { setTimeout as delay } from "node:timers/promises";
import { MAX_WINDOW_BYTES } from "@cluster-connect/protocol";
import { downloadFor } from "../client.ts";
import { type Lab, REFERENCES } from "../lab.ts";
import type { Question } from "../measure.ts";
import { roundTripMs } from "../stream-setup.ts";

const MIB = 1_048_576;
const LIMIT = "window cap ÷ round trip";
/** Time for windows to grow, and what is measured after it. */
const RAMP_MS = 1_600;
const MEASURED_MS = 700;
const MANY = 8;

/** How fast one stream and eight carry bulk over a long path, once windows have grown. */
export async function longBulk(lab: Lab): Promise<Question> {
  const options = { rttMs: lab.longRttMs };
  const chains = await lab.chains(options);
  const path = await lab.pathAlone(options);
  return {
    name: `bulk at ${lab.longRttMs} ms`,
    warmUp: false,
    units: { "1 stream down": "MiB/s", "8 streams down": "MiB/s" },
    subjects: [
      ...chains
        .filter(({ name }) => name !== REFERENCES.net)
        .map(({ name, ports }) => ({
          name,
          run: async () => ({
            "1 stream down": await rateAfterRamp(1, ports.bulk),
            "8 streams down": await rateAfterRamp(MANY, ports.bulk),
          }),
        })),
      {
        name: LIMIT,
        run: async () => ({ "1 stream down": MAX_WINDOW_BYTES / MIB / ((await roundTripMs(path, 3)) / 1_000) }),
      },
    ],
    targets: [{ metric: "1 stream down", against: LIMIT, atLeast: 0.85 }],
  };
}

async function rateAfterRamp(streams: number, port: number): Promise<number> {
  const stop = new AbortController();
  let moved = 0;
  const all = Array.from({ length: streams }, () =>
    downloadFor(port, Number.MAX_SAFE_INTEGER, {
      onBytes: (bytes) => {
        moved += bytes;
      },
      signal: stop.signal,
    }),
  );
  await delay(RAMP_MS);
  const before = moved;
  const startedAt = performance.now();
  await delay(MEASURED_MS);
  const rate = (moved - before) / MIB / ((performance.now() - startedAt) / 1_000);
  stop.abort();
  await Promise.all(all);
  return rate;
}
