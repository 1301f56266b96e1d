import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { repositoryFile } from "../src/stack/repository-file.ts";

const document = await readFile(repositoryFile("docs/threat-model.md"), "utf8");
const CROSSINGS = document.split("\n### ").slice(1);

interface ThreatRow {
  readonly kind: string;
  readonly file: string;
  readonly title: string;
}

/** The rows of a crossing's table, without its head. */
function rowsOf(crossing: string): readonly ThreatRow[] {
  return crossing
    .split("\n")
    .filter((line) => line.startsWith("| ") && !line.startsWith("| |") && !line.startsWith("| ---"))
    .map((line) => {
      const [, kind = "", file = "", title = ""] = /^\| (.) \| .+ \| .+ \| `([^`]+)`: (.+) \|$/.exec(line) ?? [];
      return { kind, file, title };
    });
}

const ROWS = CROSSINGS.flatMap(rowsOf);

test.each(ROWS)("$file has the test that the threat model names: $title", async ({ file, title }) => {
  const source = await readFile(repositoryFile(file), "utf8");
  // The title as the file writes it: between quotes, whole.
  expect(source.includes(`"${title}"`) || source.includes(`\`${title}\``), title).toBe(true);
});

test("each crossing of the drawing has its threats, each of a kind, and each kind is there", () => {
  const [drawing = ""] = /```[^`]+```/.exec(document) ?? [];
  for (const [crossing] of drawing.matchAll(/\([a-h]\)/g)) {
    expect(
      CROSSINGS.some((one) => one.startsWith(crossing)),
      crossing,
    ).toBe(true);
  }
  for (const crossing of CROSSINGS) expect(rowsOf(crossing).length, crossing).toBeGreaterThan(3);
  expect(new Set(ROWS.map(({ kind }) => kind))).toEqual(new Set("STRIDE"));
});
