import type { Lab } from "../lab.ts";
import type { Question } from "../measure.ts";
import { roundTripMs, setupMs } from "../stream-setup.ts";

const COUNT = 5;
const PATH = "the path alone";

/** How long a new connection takes over a long path until its first byte came back, in round trips. */
export async function longSetUp(lab: Lab): Promise<Question> {
  const options = { rttMs: lab.longRttMs };
  const chains = await lab.chains(options);
  const path = await lab.pathAlone(options);
  return {
    name: `set-up at ${lab.longRttMs} ms`,
    warmUp: true,
    units: { "first byte back": "ms" },
    subjects: [
      ...chains.map(({ name, ports }) => ({
        name,
        run: async () => ({ "first byte back": await setupMs(ports.quiet, COUNT) }),
      })),
      { name: PATH, run: async () => ({ "first byte back": await roundTripMs(path, COUNT) }) },
    ],
    targets: [{ metric: "first byte back", against: PATH, atMost: 1.1 }],
  };
}
