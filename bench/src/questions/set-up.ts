import type { Lab } from "../lab.ts";
import type { Question } from "../measure.ts";
import { setupMs } from "../stream-setup.ts";

const COUNT = 60;

/** How long a new connection takes until its first byte came back. */
export async function setUp(lab: Lab): Promise<Question> {
  const chains = await lab.chains({ rttMs: 0 });
  return {
    name: "set-up",
    warmUp: true,
    units: { "first byte back": "ms" },
    subjects: chains.map(({ name, ports }) => ({
      name,
      run: async () => ({ "first byte back": await setupMs(ports.quiet, COUNT) }),
    })),
    targets: [],
  };
}
