import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { writeFileAtomic } from "../../src/index.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "cc-atomic-"));
});
afterEach(() => rm(folder, { recursive: true }));

test("a file is replaced whole and has the wanted mode", async () => {
  const file = join(folder, "key.pem");
  await writeFile(file, "old", { mode: 0o644 });
  await writeFileAtomic(file, "new", { mode: 0o600 });
  expect(await readFile(file, "utf8")).toBe("new");
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect(await readdir(folder)).toEqual(["key.pem"]);
});

test("a write that fails leaves nothing behind", async () => {
  await expect(writeFileAtomic(join(folder, "none", "key.pem"), "x", { mode: 0o600 })).rejects.toThrow("ENOENT");
  await expect(writeFileAtomic(folder, "x", { mode: 0o600 })).rejects.toThrow();
  expect(await readdir(folder)).toEqual([]);
});
