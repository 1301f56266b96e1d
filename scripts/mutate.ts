/**
 * `pnpm mutate FILE...`: whether the tests hold. Puts one small fault after the other into a source file and runs the
 * nearest unit tests against each. Prints the faults that no test has noticed.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { EQUIVALENTS, type Equivalent } from "./mutate/equivalents.ts";
import { type Mutant, mutantsOf } from "./mutate/mutants.ts";
import { nearestTests } from "./mutate/nearest.ts";
import { notingReached } from "./mutate/reach.ts";
import { createTestProcess, type TestProcess } from "./mutate/test-process.ts";
import { runScript } from "./run-script.ts";

const USAGE = `Usage: npx -y pnpm@12 mutate [--lines FROM-TO] [--seconds N] [--patience N] FILE...

Puts one small fault after the other into each source file, runs the nearest unit tests against it, and prints the faults
that no test has noticed; exit code 1 when there are any that scripts/mutate/equivalents.ts does not explain. Nothing on
the disk changes.

  --lines FROM-TO  only faults in these lines
  --seconds N      no more test files once those before, five at least, took N seconds without any fault; 60 without it
  --patience N     seconds that a test may wait for what does not come; 10 without it`;

const ROOT: string = resolve(import.meta.dirname, "..");
const STARTUP_MS = 60_000;
/** So many of the nearest files run, however long they take. */
const NEAREST = 5;

/** The tools and limits of a run, the same for every file. */
interface Workshop {
  readonly tests: TestProcess;
  /** A file for notes about what the tests get to. */
  readonly notesPath: string;
  readonly lines: readonly [number, number];
  readonly seconds: number;
}

/** A test file without any fault: how long it takes, and which functions of the source file it gets to. */
interface Baseline {
  readonly ms: number;
  readonly reached: ReadonlySet<number>;
}

async function baseline(file: string, workshop: Workshop): Promise<ReadonlyMap<string, Baseline>> {
  const { tests, notesPath, seconds } = workshop;
  const source = notingReached(await readFile(file, "utf8"), notesPath);
  const found = new Map<string, Baseline>();
  let left = seconds * 1_000;
  for (const test of await nearestTests(file)) {
    if (left <= 0 && found.size >= NEAREST) break;
    await writeFile(notesPath, "");
    const answer = await tests.ask({ file, source, tests: [test] }, { timeoutMs: STARTUP_MS + 10_000 * seconds });
    const failed = answer === undefined ? { test: relative(ROOT, test), reason: "no answer" } : answer.failed;
    if (failed !== undefined) throw new Error(`Fails without any fault: ${failed.test}: ${failed.reason}`);
    const ms = answer?.times[test];
    if (ms === undefined) continue;
    const notes = (await readFile(notesPath, "utf8")).trim();
    found.set(test, { ms, reached: new Set(notes === "" ? [] : notes.split("\n").map(Number)) });
    left -= ms;
  }
  if (found.size === 0) throw new Error(`No unit test imports ${relative(ROOT, file)}`);
  return found;
}

async function mutate(file: string, workshop: Workshop): Promise<boolean> {
  const name = relative(ROOT, file);
  const [from, to] = workshop.lines;
  const all = mutantsOf(await readFile(file, "utf8"));
  const explained = EQUIVALENTS[name] ?? [];
  const tried = all.filter((mutant) => mutant.line >= from && mutant.line <= to);
  const unexplained = tried.filter((mutant) => !explained.some((one) => explains(one, mutant)));
  const near = await baseline(file, workshop);
  console.log(`${name}: ${tried.length} faults, ${near.size} test files`);
  const counts = { noticed: 0, byTime: 0, survivors: 0 };
  // The test that noticed one fault is likely to notice the next.
  let order = [...near.keys()];
  for (const mutant of unexplained) {
    const reaching = order.filter(
      (test) => mutant.within === undefined || near.get(test)?.reached.has(mutant.within) === true,
    );
    const timeoutMs = STARTUP_MS + 4 * Math.round(reaching.reduce((sum, test) => sum + (near.get(test)?.ms ?? 0), 0));
    const question = { file, source: mutant.source, tests: reaching };
    const answer = reaching.length === 0 ? { times: {} } : await workshop.tests.ask(question, { timeoutMs });
    if (answer !== undefined && answer.failed === undefined) {
      counts.survivors++;
      const note = reaching.length === 0 ? " (no test gets here)" : "";
      console.log(`\n${name}:${mutant.line}${note}\n- ${mutant.original}\n+ ${mutant.mutated}`);
      continue;
    }
    counts.noticed++;
    if (answer === undefined || /timed out/i.test(answer.failed?.reason ?? "")) counts.byTime++;
    const killer = answer?.failed?.file;
    if (killer !== undefined) order = [killer, ...order.filter((test) => test !== killer)];
  }
  const stale = explained.flatMap(({ original, mutated }) =>
    mutated.filter((text) => !all.some((mutant) => mutant.original === original && mutant.mutated === text)),
  );
  for (const text of stale) console.log(`\n${name}: equivalents.ts explains a fault that is not there: ${text}`);
  const { noticed, byTime, survivors } = counts;
  const rest = `${survivors} not noticed, ${tried.length - unexplained.length} explained`;
  console.log(`\n${name}: ${noticed} noticed (${byTime} by time), ${rest}\n`);
  return survivors === 0 && stale.length === 0;
}

const explains = (one: Equivalent, mutant: Mutant): boolean =>
  one.original === mutant.original && one.mutated.includes(mutant.mutated);

function linesOf(text: string | undefined): readonly [number, number] {
  if (text === undefined) return [1, Number.POSITIVE_INFINITY];
  const [, from, to = from] = /^(\d+)(?:-(\d+))?$/.exec(text) ?? [];
  if (from === undefined) throw new Error(`--lines takes FROM-TO, as in 10-40, not ${text}`);
  return [Number(from), Number(to)];
}

function secondsOf(name: string, text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new Error(`--${name} takes whole seconds, not ${text}`);
  return Number(text);
}

async function main(argv: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      lines: { type: "string" },
      seconds: { type: "string", default: "60" },
      patience: { type: "string", default: "10" },
    },
  });
  const settings = { lines: linesOf(values.lines), seconds: secondsOf("seconds", values.seconds) };
  const patience = secondsOf("patience", values.patience);
  const files = positionals.map((path) => resolve(path));
  if (files.length === 0) throw new Error("Name at least one source file, as in packages/framing/src/stream/window.ts");
  const other = files.find((file) => !file.startsWith(ROOT) || !/\/src\/.*\.ts$/.test(file));
  if (other !== undefined) throw new Error(`${relative(ROOT, other)} is no source file of a workspace`);
  const folder = await mkdtemp(join(tmpdir(), "mutate-"));
  const tests = createTestProcess({ root: ROOT, patience, servedPath: join(folder, "mutant.json") });
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      tests.stop();
      process.exit(130);
    });
  }
  try {
    let held = true;
    const workshop: Workshop = { ...settings, tests, notesPath: join(folder, "reached") };
    for (const file of files) held = (await mutate(file, workshop)) && held;
    return held ? 0 : 1;
  } finally {
    tests.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

await runScript(USAGE, main);
