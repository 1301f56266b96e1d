import { access, readdir, readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { repositoryFile } from "../src/stack/repository-file.ts";

const text = await readFile(repositoryFile("ARCHITECTURE.md"), "utf8");
const FRAMING = "packages/framing/src/";

/** The numbered list below a heading: the paths of each entry, from the root of the repository. */
function listBelow(heading: string, fullPath: (path: string) => string): readonly (readonly string[])[] {
  const [, section = ""] = text.split(`### ${heading}\n`);
  const [list = ""] = section.split(/^#/m);
  const [, ...entries] = list.split(/(?:^|\s)(?=\d+\. `)/);
  for (const [index, entry] of entries.entries()) expect(entry).toMatch(new RegExp(`^${index + 1}\\. `));
  return entries.map((entry) => [...entry.matchAll(/`([^`]+\.ts)`/g)].map(([, path = ""]) => fullPath(path)));
}

const OPEN = listBelow("The files that an OPEN passes", (path) =>
  path.replace(/^f\//, FRAMING).replace(/^p\//, "packages/protocol/src/"),
);
const DATA = listBelow("The files that a byte of DATA passes", (path) => `${FRAMING}${path}`);

test("an OPEN passes at most 30 entries of files, a byte of DATA at most 12", () => {
  expect(OPEN.length).toBeGreaterThan(20);
  expect(OPEN.length).toBeLessThanOrEqual(30);
  expect(DATA.length).toBeGreaterThan(8);
  expect(DATA.length).toBeLessThanOrEqual(12);
});

test.each([...new Set([...OPEN.flat(), ...DATA.flat()])])("%s, which ARCHITECTURE.md names, is there", async (path) => {
  await access(repositoryFile(path));
});

test("each entry of both lists names a file", () => {
  for (const entry of [...OPEN, ...DATA]) expect(entry).not.toEqual([]);
});

test("each package is in the table of workspaces", async () => {
  for (const name of await readdir(repositoryFile("packages"))) expect(text).toContain(`| \`packages/${name}\` |`);
});
