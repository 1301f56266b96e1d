import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { mutantsOf } from "../../../../scripts/mutate/mutants.ts";
import { nearestTests } from "../../../../scripts/mutate/nearest.ts";
import { parseTypeScript } from "../../../../scripts/mutate/syntax.ts";

const ROOT = join(import.meta.dirname, "../../../..");
const changed = (source: string): readonly string[] => mutantsOf(source).map((mutant) => mutant.mutated);

test.each<[what: string, source: string, mutated: readonly string[]]>([
  ["a comparison: its boundary and its opposite", "f(a < b);", ["f(a <= b);", "f(a >= b);", ";"]],
  ["an equality: its opposite", "f(a === b);", ["f(a !== b);", ";"]],
  ["and, or: each other", "f(a && b);", ["f(a || b);", ";"]],
  ["a fallback: either side", "f(a ?? b);", ["f((a));", "f((b));", ";"]],
  [
    "a condition: always, never, and its boundary",
    "if (a > b) f;",
    ["if (true) f;", "if (false) f;", "if (a >= b) f;"],
  ],
  [
    "a named number: ×1000, 0, one more, one less",
    "const A = 4 * 60;",
    ["const A = (4 * 60) * 1000;", "const A = 0;", "const A = (4 * 60) + 1;", "const A = (4 * 60) - 1;"],
  ],
  [
    "a default: the same",
    "f = { a: 5 };",
    ["f = { a: (5) * 1000 };", "f = { a: 0 };", "f = { a: (5) + 1 };", "f = { a: (5) - 1 };", ";"],
  ],
  ["a number within: beside it", "f = a(1);", ["f = a(2);", "f = a(0);", ";"]],
  ["yes and no: each other", "let a = true;", ["let a = false;"]],
  ["a negation: none", "f(!a);", ["f(a);", ";"]],
  ["an await: none", "await f();", [";", "f();"]],
  ["a delete: none", "delete a[b];", [";"]],
  [
    "a throw: none",
    "function f() { g(); throw e; }",
    ["function f() { return; g(); throw e; }", "function f() { ; throw e; }", "function f() { g(); ; }"],
  ],
  ["a result: none", "const f = () => { return a; };", ["const f = () => { return undefined; };"]],
  ["a question: always yes, always no", "f = a.has(b);", ["f = true;", "f = false;", ";"]],
  ["a list: one element less", 'f = ["a", "b"];', ['f = ["b"];', 'f = ["a"];', ";"]],
  [
    "a pattern: without its beginning, its end, its case",
    "f = /^a$/i;",
    ["f = /a$/i;", "f = /^a/i;", "f = /^a$/;", ";"],
  ],
  ["smaller and larger: each other", "f = Math.min(a, b);", ["f = Math.max(a, b);", ";"]],
  ["a loop: none, and never one without an end", "while (a) f();", ["while (false) f();", "while (a) ;"]],
  ["a count: the other way", "a++;", [";", "a--;"]],
])("changes %s", (_what, source, mutated) => {
  expect(changed(source).toSorted()).toEqual([...mutated].toSorted());
});

test("leaves types, imports and joined text alone", () => {
  const source = ["import a from 'b';", "type A = 1 | 2;", "interface B { c: 5 }", "const d = `x` + e as A;"].join(
    "\n",
  );
  expect(changed(source)).toEqual([]);
});

test("names the line, and shows a change over several lines as one", () => {
  const [first] = mutantsOf("\nconst A = [\n  'a',\n];\n");
  expect(first).toMatchObject({ line: 2, original: "const A = [ 'a', ];", mutated: "const A = [];" });
});

test("each mutant of real files is TypeScript and differs from them in one place", () => {
  const folder = join(ROOT, "apps/relay/src/quota");
  for (const name of readdirSync(folder)) {
    const source = readFileSync(join(folder, name), "utf8");
    for (const mutant of mutantsOf(source)) {
      expect(() => parseTypeScript(mutant.source), mutant.mutated).not.toThrow();
      expect(mutant.source).not.toBe(source);
    }
  }
});

test("the nearest test is the one at the same path, then those that import the file", async () => {
  const example = join(import.meta.dirname, "example");
  expect(await nearestTests(join(example, "src/grown.ts"))).toEqual([join(example, "test/grown.test.ts")]);
  const [first, ...more] = await nearestTests(join(ROOT, "packages/auth/src/headers/names.ts"));
  expect(first).toBe(join(ROOT, "packages/auth/test/headers/names.test.ts"));
  expect(more).toContain(join(ROOT, "packages/auth/test/headers/impersonation.test.ts"));
});
