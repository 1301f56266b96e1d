/**
 * `pnpm test`: every test that this machine can run. Further arguments go to vitest; the last line is the result.
 *
 * With CI set, a suite that cannot run counts as a failure instead of being left out.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createVitest, parseCLI, type TestModule, type TestSpecification, type Vitest } from "vitest/node";
import { prepareNode } from "../e2e/src/cluster/node/prepare.ts";
import { prepareKubernetes } from "../e2e/src/cluster/prepare.ts";
import { createProgress } from "../e2e/src/process/progress.ts";
import { filesByName } from "./files-by-name.ts";
import { runScript } from "./run-script.ts";
import { slowestFiles } from "./slowest-files.ts";

const USAGE = `Usage: npx -y pnpm@12 test [-- ARGUMENTS OF VITEST...]

Runs every test that this machine can run, says which took longest, which were left out and why, and ends with
"N passed, N failed". Only what the named tests need is made ready and started.

Examples:
  npx -y pnpm@12 test
  npx -y pnpm@12 test -- --project unit apps/cli        # unit, conformance, e2e or node; files by a part of their path
  npx -y pnpm@12 test -- -t NAME                        # tests by their name`;

interface Outcome {
  passed: number;
  failed: number;
  readonly leftOut: string[];
}

/** The projects of vitest.config.ts behind each name. */
const PROJECTS: Readonly<Record<string, readonly string[]>> = {
  unit: ["unit"],
  conformance: ["conformance"],
  e2e: ["e2e", "e2e-alone"],
  node: ["node"],
};

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

/** Leaves out the files of projects that cannot run here, and gets what the others need. */
async function prepared(files: readonly TestSpecification[], outcome: Outcome): Promise<readonly TestSpecification[]> {
  let left = files;
  for (const [name, prepare] of Object.entries(suites())) {
    const isOfProject = ({ project }: TestSpecification): boolean => PROJECTS[name]?.includes(project.name) === true;
    const reason = left.some(isOfProject) ? await prepare() : undefined;
    if (reason === undefined) continue;
    left = left.filter((file) => !isOfProject(file));
    outcome.leftOut.push(`every suite of ${name}: ${reason}`);
    if (process.env["CI"]) outcome.failed++;
  }
  return left;
}

/** Runs the files and returns them with their results. */
async function runFiles(
  vitest: Vitest,
  files: readonly TestSpecification[],
  outcome: Outcome,
): Promise<readonly TestModule[]> {
  const chosen = await prepared(files, outcome);
  if (chosen.length === 0) return [];
  const { testModules, unhandledErrors } = await vitest.runTestSpecifications([...chosen]);
  for (const module of testModules) count(module, outcome);
  outcome.failed += unhandledErrors.length;
  if (unhandledErrors.length > 0) console.log(`${unhandledErrors.length} errors outside any test, see above`);
  return testModules;
}

async function main(argv: readonly string[]): Promise<number> {
  // The suites of this run share this folder: things that are made once.
  const run = await mkdtemp(join(tmpdir(), "cc-run-"));
  process.env["E2E_RUN"] = run;
  try {
    return await runTests(argv);
  } finally {
    await rm(run, { recursive: true, force: true });
  }
}

async function runTests(argv: readonly string[]): Promise<number> {
  const { filter, options } = parseCLI(["vitest", "run", ...argv], { allowUnknownOptions: false });
  const named = options.project === undefined ? Object.keys(PROJECTS) : [options.project].flat();
  const outcome: Outcome = { passed: 0, failed: 0, leftOut: [] };
  const project = named.flatMap((name) => PROJECTS[name] ?? [name]);
  const vitest = await createVitest("test", { ...options, run: true, watch: false, passWithNoTests: true, project });
  await vitest.standalone();
  const files = await vitest.getRelevantTestSpecifications([...filter]);
  const pattern = options.testNamePattern?.toString();
  const paths = files.map(({ moduleId }) => moduleId);
  let slowest: readonly string[] = [];
  for await (const some of pattern === undefined || filter.length > 0 ? [paths] : filesByName(pattern, paths)) {
    const chosen = files.filter(({ moduleId }) => some.includes(moduleId));
    slowest = slowestFiles(await runFiles(vitest, chosen, outcome));
    if (outcome.passed + outcome.failed > 0) break;
  }
  await vitest.close();
  report(slowest, outcome);
  return outcome.failed > 0 || outcome.passed === 0 ? 1 : 0;
}

function report(slowest: readonly string[], { leftOut, passed, failed }: Outcome): void {
  if (slowest.length > 0) console.log(`\nThe slowest files:\n${slowest.join("\n")}`);
  if (leftOut.length > 0) console.log(`\nLeft out on this machine:\n${leftOut.map((line) => `- ${line}`).join("\n")}`);
  if (passed + failed === 0) console.log("\nNo test ran.");
  console.log(`\n${passed} passed, ${failed} failed`);
}

await runScript(USAGE, main);
