/**
 * `pnpm test`: every test that this machine can run. Further arguments go to vitest; the last line is the result.
 *
 * With CI set, a suite that cannot run counts as a failure instead of being left out.
 */
import { parseCLI, startVitest, type TestModule } from "vitest/node";
import { prepareNode } from "../e2e/src/cluster/node/prepare.ts";
import { prepareKubernetes } from "../e2e/src/cluster/prepare.ts";
import { createProgress } from "../e2e/src/process/progress.ts";
import { runScript } from "./run-script.ts";

const USAGE = `Usage: npx -y pnpm@12 test [-- ARGUMENTS OF VITEST...]

Runs every test that this machine can run, says which were left out and why, and ends with "N passed, N failed".

Examples:
  npx -y pnpm@12 test
  npx -y pnpm@12 test -- --project unit apps/cli        # unit, conformance, e2e or node; files by a part of their path
  npx -y pnpm@12 test -- -t NAME                        # tests by their name`;

interface Outcome {
  passed: number;
  failed: number;
  readonly leftOut: string[];
}

const PROJECTS = ["unit", "conformance", "e2e", "node"] as const;

/** Why the suites of a project cannot run on this machine, if they cannot; gets what they need. */
type Prepare = () => Promise<string | undefined>;

function suites(): Readonly<Record<string, Prepare>> {
  const { env, platform } = process;
  const progress = createProgress(process.stderr, { now: () => performance.now() });
  const { signal } = new AbortController();
  const host = { platform, uid: process.getuid?.() };
  return {
    e2e: () => prepareKubernetes({ signal }, { env, progress }),
    node: () => prepareNode({ signal }, { env, progress, host }),
  };
}

/** A file that failed outside its tests (a hook, an import) counts as one failure; its tests never ran. */
function count(module: TestModule, outcome: Outcome): void {
  let failedHere = 0;
  for (const test of module.children.allTests()) {
    const result = test.result();
    if (result.state === "passed") outcome.passed++;
    if (result.state === "failed") failedHere++;
    if (result.state === "skipped" && result.note !== undefined)
      outcome.leftOut.push(`${test.fullName}: ${result.note}`);
  }
  if (failedHere === 0 && !module.ok()) failedHere = 1;
  outcome.failed += failedHere;
}

async function main(argv: readonly string[]): Promise<number> {
  const { filter, options } = parseCLI(["vitest", "run", ...argv], { allowUnknownOptions: false });
  const named = options.project === undefined ? PROJECTS : [options.project].flat();
  const outcome: Outcome = { passed: 0, failed: 0, leftOut: [] };
  let projects = [...named];
  const wanted = filter.length === 0 || filter.some((path) => path.includes("suites"));
  for (const [name, prepare] of Object.entries(suites())) {
    const reason = wanted && projects.includes(name) ? await prepare() : undefined;
    if (reason === undefined) continue;
    projects = projects.filter((project) => project !== name);
    outcome.leftOut.push(`every suite of ${name}: ${reason}`);
    if (process.env["CI"]) outcome.failed++;
  }
  if (projects.length > 0) {
    const vitest = await startVitest(filter, {
      ...options,
      run: true,
      watch: false,
      passWithNoTests: true,
      project: projects,
    });
    for (const module of vitest.state.getTestModules()) count(module, outcome);
    const stray = vitest.state.getUnhandledErrors().length;
    outcome.failed += stray;
    if (stray > 0) console.log(`${stray} errors outside any test, see above`);
    await vitest.close();
  }
  if (outcome.leftOut.length > 0) {
    console.log("\nLeft out on this machine:");
    for (const line of outcome.leftOut) console.log(`- ${line}`);
  }
  if (outcome.passed + outcome.failed === 0) console.log("\nNo test ran.");
  console.log(`\n${outcome.passed} passed, ${outcome.failed} failed`);
  return outcome.failed > 0 || outcome.passed === 0 ? 1 : 0;
}

await runScript(USAGE, main);
