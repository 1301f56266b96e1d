import { readdir, readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { repositoryFile } from "../src/stack/repository-file.ts";

const document = await readFile(repositoryFile("docs/reliability.md"), "utf8");
const SUFFIX = ".e2e.test.ts";

interface PromiseRow {
  readonly fault: string;
  /** The time until all goes on; without one, how long a byte may wait. */
  readonly within: string;
  readonly suite: string;
}

/** The rows of the table of faults. */
const ROWS: readonly PromiseRow[] =
  document
    .split("\n## ")[0]
    ?.split("\n")
    .map((line) => /^\| ([^|]+) \| ([^|]+) \| ([^|]+) \| `([^`]+)` \|$/.exec(line))
    .filter((found) => found !== null)
    .map(([, fault = "", lost = "", within = "", suite = ""]) => ({ fault, within: `${within}; ${lost}`, suite })) ??
  [];

const sourceOf = (suite: string): Promise<string> => readFile(repositoryFile(`e2e/suites/${suite}${SUFFIX}`), "utf8");

test("the table of faults has rows", () => {
  expect(ROWS.length).toBeGreaterThan(15);
});

/** A time as a suite writes it. */
function constantOf(within: string): string | undefined {
  const [, number, unit] = /(\d+) (s|ms)\b/.exec(within) ?? [];
  if (number === undefined) return undefined;
  const ms = Number(number) * (unit === "s" ? 1_000 : 1);
  return ms >= 1_000 ? `${Math.floor(ms / 1_000)}_000;` : `${ms};`;
}

test.each(ROWS)("$suite asserts the time that is promised when $fault", async ({ within, suite }) => {
  const source = await sourceOf(suite);
  const constant = constantOf(within);
  if (suite.startsWith("reliability/") && constant !== undefined) {
    expect(source).toContain("expectWithin(");
    expect(source).toContain(constant);
  }
});

test("each suite of promises is in the table", async () => {
  const files = await readdir(repositoryFile("e2e/suites/reliability"));
  const suites = files
    .filter((file) => file.endsWith(SUFFIX))
    .map((file) => `reliability/${file.slice(0, -SUFFIX.length)}`);
  expect(suites.filter((suite) => !ROWS.some((row) => row.suite === suite))).toEqual([]);
});
