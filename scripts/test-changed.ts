/**
 * The unit tests that something has changed for since they last passed: `pnpm check` runs these.
 *
 * A test file has passed for everything that it names, directly or through the files that it names: imports, programs,
 * documents. The list is kept in node_modules/.cache; without it every file runs.
 */

import { createVitest } from "vitest/node";
import { readPassedKeys, writePassedKeys } from "./changed/passed-keys.ts";
import { workspaceInputs } from "./changed/workspace-inputs.ts";
import { runScript } from "./run-script.ts";
import { slowestFiles } from "./slowest-files.ts";

const USAGE = `Usage: npx -y pnpm@12 run test:changed

Runs the unit tests whose files, or what these name, have changed since they last passed.`;

async function main(): Promise<number> {
  const vitest = await createVitest("test", { run: true, watch: false, passWithNoTests: true, project: ["unit"] });
  await vitest.standalone();
  const files = await vitest.getRelevantTestSpecifications();
  const inputs = workspaceInputs(["vitest.config.ts"]);
  const keys = new Map(files.map(({ moduleId }) => [moduleId, inputs.keyOf(moduleId)]));
  const passed = await readPassedKeys("tests");
  const changed = files.filter(({ moduleId }) => !passed.has(keys.get(moduleId) ?? ""));
  const { testModules, unhandledErrors } =
    changed.length === 0 ? { testModules: [], unhandledErrors: [] } : await vitest.runTestSpecifications([...changed]);
  await vitest.close();
  const failed = new Set(testModules.filter((module) => !module.ok()).map(({ moduleId }) => moduleId));
  if (unhandledErrors.length === 0) {
    await writePassedKeys(
      "tests",
      [...keys].flatMap(([file, key]) => (failed.has(file) ? [] : [key])),
    );
  }
  for (const line of slowestFiles(testModules)) console.log(line);
  console.log(`\n${changed.length} of ${files.length} test files have changed, ${failed.size} failed`);
  return failed.size > 0 || unhandledErrors.length > 0 ? 1 : 0;
}

await runScript(USAGE, main);
