import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import { beforeEach, expect, test } from "vitest";
import { filesByName } from "../../../scripts/files-by-name.ts";

let folder: string;
const paths = (...names: readonly string[]): readonly string[] => names.map((name) => join(folder, name));
const all = (): readonly string[] => paths("cup.test.ts", "pot.test.ts", "lid.test.ts");

beforeEach(async () => {
  folder = await temporaryFolder();
  await mkdir(join(folder, "support"));
  const write = (name: string, text: string): Promise<void> => writeFile(join(folder, name), text);
  await write("cup.test.ts", 'test("a cup of tea is warm", () => {});');
  await write(
    "pot.test.ts",
    'import { KINDS } from "./support/kinds.ts";\ntest.each(KINDS)("a pot of $kind is warm", () => {});',
  );
  await write("lid.test.ts", 'test("a lid is warm", () => {});');
  await write("support/kinds.ts", 'export const KINDS = [{ kind: "coffee" }];');
});

async function looked(pattern: string): Promise<readonly (readonly string[])[]> {
  const found: (readonly string[])[] = [];
  for await (const some of filesByName(pattern, all())) found.push(some);
  return found;
}

test("a name that a file holds leads to that file first", async () => {
  expect((await looked("cup of tea"))[0]).toEqual(paths("cup.test.ts"));
});

test("a name from a table leads to the file whose words and imports make it up", async () => {
  expect(await looked("a pot of coffee is warm")).toEqual([[], paths("pot.test.ts")]);
});

test("a word counts as a whole", async () => {
  expect(await looked("pot of cof")).toEqual([[], []]);
});

test("a pattern that is more than a text leads to every file", async () => {
  expect(await looked("cup|pot")).toEqual([all()]);
});
