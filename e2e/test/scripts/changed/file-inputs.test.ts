import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import { beforeEach, expect, test } from "vitest";
import { createFileInputs } from "../../../../scripts/changed/file-inputs.ts";

let root: string;
const TEST = "apps/cup/test/cup.test.ts";

async function write(name: string, text: string): Promise<void> {
  await mkdir(dirname(join(root, name)), { recursive: true });
  await writeFile(join(root, name), text);
}

function key(): string {
  const entries = new Map([["@tea/pot/ways", join(root, "packages/pot/src/ways.ts")]]);
  return createFileInputs({ root, entries, common: [join(root, "lock.yaml")] }).keyOf(join(root, TEST));
}

beforeEach(async () => {
  root = await temporaryFolder();
  await write("lock.yaml", "1");
  await write("packages/pot/src/ways.ts", 'import { WARM } from "./warm.ts";');
  await write("packages/pot/src/warm.ts", "export const WARM = 1;");
  await write("packages/pot/src/cold.ts", "export const COLD = 1;");
  await write("apps/cup/src/main.ts", 'import { ask } from "@tea/pot/ways";');
  await write("apps/cup/src/other.ts", "export const OTHER = 1;");
  await write("apps/cup/README.md", "a cup");
  await write("docs/tea.md", "tea");
  await write("docs/sub/milk.md", "milk");
});

test.each([
  ["an import of an import, by way of a package", 'import "../src/main.ts";', "packages/pot/src/warm.ts"],
  ["a program that it starts", 'const MAIN = new URL("../src/main.ts", import.meta.url);', "apps/cup/src/main.ts"],
  ["a file that it reads", 'const text = join(import.meta.dirname, "../README.md");', "apps/cup/README.md"],
  ["a file below the root", 'const file = repositoryFile("docs/tea.md");', "docs/tea.md"],
  [
    "a folder that it reads, at any depth",
    'const folder = join(import.meta.dirname, "../../../docs");',
    "docs/sub/milk.md",
  ],
  [
    "a folder that a computed name is in",
    `const file = new URL(\`../../../docs/\${name}\`, import.meta.url);`,
    "docs/tea.md",
  ],
  [
    "a file beside it that is no source",
    `const pem = join(import.meta.dirname, \`\${name}.pem\`);`,
    "apps/cup/test/a.pem",
  ],
  ["itself", "", TEST],
  ["what all tests depend on", "", "lock.yaml"],
])("a test depends on %s", async (_what, source, changed) => {
  await write("apps/cup/test/a.pem", "key");
  await write(TEST, source);
  const before = key();
  expect(key()).toBe(before);
  await write(changed, `${source}\n// changed`);
  expect(key()).not.toBe(before);
});

test("a test does not depend on what nothing names", async () => {
  await write(TEST, 'import "../src/main.ts";');
  const before = key();
  for (const name of ["packages/pot/src/cold.ts", "apps/cup/src/other.ts", "docs/tea.md"]) await write(name, "changed");
  expect(key()).toBe(before);
});

test("a file is as far from another as names lead to it: none for itself, one by an import, no end without a way", async () => {
  await write(TEST, 'import "../src/main.ts";');
  const entries = new Map([["@tea/pot/ways", join(root, "packages/pot/src/ways.ts")]]);
  const inputs = createFileInputs({ root, entries, common: [] });
  const stepsTo = (...names: readonly string[]): number =>
    inputs.stepsTo(join(root, TEST), new Set(names.map((name) => join(root, name))));
  expect(stepsTo(TEST)).toBe(0);
  expect(stepsTo("apps/cup/src/main.ts", "packages/pot/src/warm.ts")).toBe(1);
  expect(stepsTo("packages/pot/src/warm.ts")).toBe(3);
  expect(stepsTo("packages/pot/src/cold.ts")).toBe(Number.POSITIVE_INFINITY);
});
