/** Logs as fast as it can, then waits a little for a reader that comes late, and says on stdout how that went. */
import { writeSync } from "node:fs";
import { SYSTEM_CLOCK, wait } from "@cluster-connect/base";
import { createLogger, createLogSink } from "../../src/index.ts";

const LINES = 40_000;
const sink = createLogSink({}, { clock: SYSTEM_CLOCK });
const log = createLogger({ service: "noisy" }, sink);
for (let n = 0; n < LINES; n += 1) {
  log.info({ event: "noise", n, text: "x".repeat(100) });
  if (n % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
}
writeSync(1, " ");
await wait(1_000, { signal: new AbortController().signal }, { clock: SYSTEM_CLOCK });
await sink.close({ timeoutMs: 1_000 });
writeSync(1, JSON.stringify({ dropped: sink.dropped }));
