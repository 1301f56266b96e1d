import type { Lab } from "../lab.ts";
import { LOADED_UNITS, pingUnderLoad } from "../loaded-ping.ts";
import type { Question } from "../measure.ts";

/** The 99th percentile needs some hundred round trips. */
const DURATION_MS = 3_000;

/** The hop window's gain for a quiet stream beside eight bulk streams, and its cost for those. */
export async function hopWindow(lab: Lab): Promise<Question> {
  const [on, off] = await lab.bareChains();
  if (on === undefined || off === undefined) throw new Error("the chains were not started");
  return {
    name: "hop-window",
    warmUp: true,
    units: LOADED_UNITS,
    subjects: [on, off].map((chain) => ({
      name: chain.name,
      run: () => pingUnderLoad(chain, DURATION_MS, lab.site.processes),
    })),
    targets: [
      { metric: "1 byte p99", against: off.name, atMost: 0.3 },
      { metric: "bulk beside it", against: off.name, atLeast: 0.97 },
    ],
  };
}
