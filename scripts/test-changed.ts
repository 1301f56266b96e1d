/**
 * The unit tests that something has changed for since they last passed: `pnpm check` runs those nearest to the change.
 *
 * A test file has passed for everything that it names, directly or through the files that it names: imports, programs,
 * documents. The list is kept in node_modules/.cache; without it every file runs.
 */

import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createVitest, type TestModule } from "vitest/node";
import { nearestFirst } from "./changed/nearest-first.ts";
import { readPassedKeys, readTestTimes, writePassedKeys, writeTestTimes } from "./changed/passed-keys.ts";
import { ROOT, workspaceInputs } from "./changed/workspace-inputs.ts";
import { runScript } from "./run-script.ts";
import { slowestFiles } from "./slowest-files.ts";

const USAGE = `Usage: npx -y pnpm@12 test:changed [--seconds N]

Runs the unit tests whose files, or what these name, have changed since they last passed.

  --seconds N  only as many as took N seconds together the last time, those nearest to the uncommitted change first; the
               others are counted and run the next time. All run while none has passed yet.`;

async function main(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({ args: [...argv], options: { seconds: { type: "string" } } });
  const seconds = secondsOf(values.seconds);
  const vitest = await createVitest("test", { run: true, watch: false, passWithNoTests: true, project: ["unit"] });
  await vitest.standalone();
  const files = await vitest.getRelevantTestSpecifications();
  const inputs = workspaceInputs(["vitest.config.ts"]);
  const keys = new Map(files.map(({ moduleId }) => [moduleId, inputs.keyOf(moduleId)]));
  const [passed, times] = [await readPassedKeys("tests"), await readTestTimes()];
  const changed = files.filter(({ moduleId }) => !passed.has(keys.get(moduleId) ?? ""));
  const uncommitted = changed.length === 0 ? new Set<string>() : uncommittedFiles();
  const candidates = changed.map((specification) => {
    const path = specification.moduleId;
    return { path, specification, steps: inputs.stepsTo(path, uncommitted), ms: times.get(path) };
  });
  const near =
    passed.size === 0 || seconds === Number.POSITIVE_INFINITY ? candidates : nearestFirst(candidates, seconds * 1_000);
  const { testModules, unhandledErrors } =
    near.length === 0
      ? { testModules: [], unhandledErrors: [] }
      : await vitest.runTestSpecifications(near.map(({ specification }) => specification));
  await vitest.close();
  const failed = new Set(testModules.filter((module) => !module.ok()).map(({ moduleId }) => moduleId));
  const left = new Set(changed.map(({ moduleId }) => moduleId));
  for (const { path } of near) left.delete(path);
  if (unhandledErrors.length === 0) {
    const now = [...keys].flatMap(([file, key]) => (failed.has(file) || left.has(file) ? [] : [key]));
    await writePassedKeys("tests", now);
  }
  await writeTestTimes(new Map([...times, ...timesOf(testModules)]));
  for (const line of slowestFiles(testModules)) console.log(line);
  console.log(`\n${changed.length} of ${files.length} test files have changed, ${failed.size} failed`);
  if (left.size > 0) console.log(`${left.size} of them are further away and did not run: npx -y pnpm@12 test:changed`);
  return failed.size > 0 || unhandledErrors.length > 0 ? 1 : 0;
}

/** With what it takes to start the file and to read what it imports. */
function timesOf(modules: readonly TestModule[]): ReadonlyArray<readonly [string, number]> {
  return modules.map((module) => {
    const { prepareDuration, environmentSetupDuration, setupDuration, collectDuration, duration } = module.diagnostic();
    const ms = prepareDuration + environmentSetupDuration + setupDuration + collectDuration + duration;
    return [module.moduleId, Math.round(ms)];
  });
}

/** Absolute paths. */
function uncommittedFiles(): ReadonlySet<string> {
  const commands = [
    ["diff", "--name-only", "-z", "HEAD"],
    ["ls-files", "-z", "--others", "--exclude-standard"],
  ];
  const names = commands.flatMap((args) => spawnSync("git", args, { cwd: ROOT, encoding: "utf8" }).stdout.split("\0"));
  return new Set(names.filter((name) => name !== "").map((name) => join(ROOT, name)));
}

function secondsOf(text: string | undefined): number {
  if (text === undefined) return Number.POSITIVE_INFINITY;
  if (!/^[1-9]\d{0,4}$/.test(text)) throw new Error(`--seconds takes whole seconds, not ${text}`);
  return Number(text);
}

await runScript(USAGE, main);
