import type { Lab } from "../lab.ts";
import { LOADED_UNITS, pingUnderLoad } from "../loaded-ping.ts";
import type { Question } from "../measure.ts";

/** The 99th percentile needs some hundred round trips. */
const DURATION_MS = 3_000;

/** How long one byte takes there and back beside eight bulk streams. */
export async function pingUnderBulk(lab: Lab): Promise<Question> {
  const chains = await lab.chains({ rttMs: 0 });
  return {
    name: "ping-under-bulk",
    warmUp: false,
    units: LOADED_UNITS,
    subjects: chains.map((chain) => ({
      name: chain.name,
      run: () => pingUnderLoad(chain, DURATION_MS, lab.site.processes),
    })),
    targets: [],
  };
}
