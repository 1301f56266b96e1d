/**
 * The process that runs the tests, against one mutant after the other. No mutant stands on the disk in place of its
 * file. vitest and the processes that a test starts are handed its text.
 *
 * Arguments: the folder of the workspace, the seconds that a test may wait, and a file to write for the processes.
 */
import { writeFile } from "node:fs/promises";
import { Writable } from "node:stream";
import { createVitest, type TestModule } from "vitest/node";
import workspace from "../../vitest.config.ts";
import { type Answer, type Question, SERVED_VARIABLE } from "./messages.ts";

const [root = "", patience = "10", servedPath = ""] = process.argv.slice(2);
const patienceMs = Number(patience) * 1_000;
process.env[SERVED_VARIABLE] = servedPath;
process.env["NODE_OPTIONS"] = `--import=${new URL("./serve-mutant.ts", import.meta.url).href}`;

await writeFile(servedPath, "{}");

let asked: Question | undefined;

const unit = workspace.test?.projects?.find(
  (project) => typeof project === "object" && "test" in project && project.test?.name === "unit",
);
if (typeof unit !== "object" || !("test" in unit)) throw new Error("vitest.config.ts names no project called unit");

const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
const vitest = await createVitest(
  {
    ...unit.test,
    config: false,
    root,
    watch: false,
    reporters: [{}],
    bail: 1,
    maxWorkers: 1,
    testTimeout: 2 * patienceMs,
    hookTimeout: 4 * patienceMs,
    expect: { poll: { timeout: patienceMs } },
    // Texts of mutants are not to be found again.
    fsModuleCache: false,
    update: "none",
  },
  {
    ...(unit.resolve === undefined ? {} : { resolve: unit.resolve }),
    ...(unit.ssr === undefined ? {} : { ssr: unit.ssr }),
    plugins: [
      {
        name: "mutant",
        enforce: "pre",
        load: (id) => (id === asked?.file && asked.source !== undefined ? { code: asked.source, map: null } : null),
      },
    ],
  },
  { stdout: nowhere, stderr: nowhere },
);
const specifications = new Map((await vitest.globTestSpecifications()).map((one) => [one.moduleId, one]));

async function answer(question: Question): Promise<Answer> {
  // The file before this one is itself again.
  if (asked !== undefined) vitest.invalidateFile(asked.file);
  asked = question;
  await writeFile(servedPath, JSON.stringify(question.source === undefined ? {} : question));
  vitest.invalidateFile(question.file);
  const times: Record<string, number> = {};
  for (const file of question.tests) {
    const specification = specifications.get(file);
    if (specification === undefined) continue;
    const from = performance.now();
    const { testModules, unhandledErrors } = await vitest.runTestSpecifications([specification]);
    times[file] = performance.now() - from;
    // The list has every module that ran in this process, those that an earlier fault has failed as well.
    const failed = testModules.filter(({ moduleId }) => moduleId === file).map(failureOf)[0];
    if (failed !== undefined) return { failed: { file, ...failed }, times };
    const [stray] = unhandledErrors;
    if (stray !== undefined) return { failed: { file, test: "outside any test", reason: firstLine(stray) }, times };
  }
  return { times };
}

function failureOf(module: TestModule): { readonly test: string; readonly reason: string } | undefined {
  if (module.ok()) return undefined;
  for (const test of module.children.allTests()) {
    const { state, errors } = test.result();
    if (state === "failed") return { test: test.fullName, reason: firstLine(errors?.[0]) };
  }
  return { test: "the file itself", reason: firstLine(module.errors()[0]) };
}

function firstLine(error: unknown): string {
  const text =
    typeof error === "object" && error !== null && "message" in error ? String(error.message) : String(error);
  return text.split("\n", 1)[0] ?? "";
}

process.on("disconnect", () => process.exit());
process.on("message", async (question: Question) => {
  process.send?.(await answer(question));
});
process.send?.("ready");
