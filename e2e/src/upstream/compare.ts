/** The outcomes of a suite's tests, by their names. */
export type Outcomes = ReadonlyMap<string, string>;

/** A suite of others that runs against any cluster. */
export interface UpstreamSuite {
  readonly name: string;
  /** Gets what it needs. @returns how to run it with a kubeconfig, or why it is left out. */
  prepare(): Promise<((kubeconfig: string) => Promise<Outcomes>) | { readonly leftOut: string }>;
}

/** A test that came out otherwise through than directly; without an outcome where there was none. */
export interface Difference {
  readonly suite: string;
  readonly test: string;
  readonly direct: string | undefined;
  readonly through: string | undefined;
}

/** All that was found. */
export interface Comparison {
  /** Tests that came out the same, and how: those that fail both ways are the cluster's matter. */
  readonly same: readonly { readonly suite: string; readonly test: string; readonly outcome: string }[];
  readonly differences: readonly Difference[];
  readonly leftOut: readonly { readonly suite: string; readonly reason: string }[];
}

/** Two kubeconfigs of the same cluster. */
export interface BothWays {
  readonly direct: string;
  readonly through: string;
}

/** Runs each suite directly and then through, and compares what came of each test. */
export async function compareSuites(suites: readonly UpstreamSuite[], ways: BothWays): Promise<Comparison> {
  const same: Comparison["same"][number][] = [];
  const differences: Difference[] = [];
  const leftOut: Comparison["leftOut"][number][] = [];
  for (const { name: suite, prepare } of suites) {
    const run = await prepare();
    if (typeof run !== "function") {
      leftOut.push({ suite, reason: run.leftOut });
      continue;
    }
    const direct = await run(ways.direct);
    const through = await run(ways.through);
    for (const test of new Set([...direct.keys(), ...through.keys()])) {
      const outcome = direct.get(test);
      if (outcome !== undefined && outcome === through.get(test)) same.push({ suite, test, outcome });
      else differences.push({ suite, test, direct: outcome, through: through.get(test) });
    }
  }
  return { same, differences, leftOut };
}

/** One line for each test: those that are left out, those that are the same, and last those that are not. */
export function renderComparison({ same, differences, leftOut }: Comparison): string {
  const short = (outcome: string | undefined): string => (outcome ?? "nothing").slice(0, OUTCOME_CHARACTERS);
  return [
    ...leftOut.map(({ suite, reason }) => `left out   ${suite}: ${reason}`),
    ...same.map(({ suite, test, outcome }) => `same       ${suite}: ${test}: ${short(outcome)}`),
    ...differences.map(
      ({ suite, test, direct, through }) =>
        `different  ${suite}: ${test}\n  directly: ${short(direct)}\n  through:  ${short(through)}`,
    ),
    `${same.length} the same, ${differences.length} different, ${leftOut.length} suites left out`,
  ].join("\n");
}

const OUTCOME_CHARACTERS = 400;
