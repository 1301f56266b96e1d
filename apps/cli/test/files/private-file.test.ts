import { chmod, chown, link, mkdir, readdir, readFile, rename, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import {
  checkWritable,
  makePrivateFolder,
  type PrivateFileDeps,
  writePrivateFile,
} from "../../src/files/private-file.ts";

const isRoot = process.getuid?.() === 0;
const SYSTEM: PrivateFileDeps = { rename, chown, uid: process.getuid?.() };
const failing = (code: string) => async (): Promise<never> => {
  throw Object.assign(new Error(code), { code });
};

async function modeOf(path: string): Promise<string> {
  return ((await stat(path)).mode & 0o7777).toString(8);
}

test("a new file is its owner's alone, and no other file stays", async () => {
  const folder = await temporaryFolder();
  await writePrivateFile(join(folder, "a"), "one");
  expect(await modeOf(join(folder, "a"))).toBe("600");
  await chmod(join(folder, "a"), 0o644);
  await writePrivateFile(join(folder, "a"), "two");
  expect([await readFile(join(folder, "a"), "utf8"), await modeOf(join(folder, "a"))]).toEqual(["two", "600"]);
  expect(await readdir(folder)).toEqual(["a"]);
});

test("permissions stay where they are to stay", async () => {
  const path = join(await temporaryFolder(), "a");
  await writeFile(path, "one");
  await chmod(path, 0o640);
  await writePrivateFile(path, "two", { keepMode: true });
  expect([await readFile(path, "utf8"), await modeOf(path)]).toEqual(["two", "640"]);
});

test("further hard links and symbolic links lead to the new content", async () => {
  const folder = await temporaryFolder();
  const [path, dotfile, shortcut] = [join(folder, "a"), join(folder, "dotfiles-a"), join(folder, "shortcut")];
  await writeFile(path, "one, which is longer");
  await link(path, dotfile);
  await symlink("a", shortcut);
  await writePrivateFile(shortcut, "two");
  for (const each of [path, dotfile, shortcut]) expect(await readFile(each, "utf8")).toBe("two");
  expect((await stat(path)).nlink).toBe(2);
  expect((await readdir(folder)).sort()).toEqual(["a", "dotfiles-a", "shortcut"]);
});

test.each(["EBUSY", "EXDEV", "EPERM"])("a file that answers %s to being replaced is written in place", async (code) => {
  const folder = await temporaryFolder();
  const path = join(folder, "a");
  await writeFile(path, "one, which is longer");
  const { ino } = await stat(path);
  await writePrivateFile(path, "two", { keepMode: true }, { ...SYSTEM, rename: failing(code) });
  expect([await readFile(path, "utf8"), (await stat(path)).ino]).toEqual(["two", ino]);
  expect(await readdir(folder)).toEqual(["a"]);
});

test("what is wrong with a new file is told, and nothing is left", async () => {
  const folder = await temporaryFolder();
  const path = join(folder, "a");
  await expect(writePrivateFile(path, "one", {}, { ...SYSTEM, rename: failing("ENOSPC") })).rejects.toMatchObject({
    code: "CC_FILE_UNREADABLE",
    message: `${path} cannot be written: no space left`,
  });
  expect(await readdir(folder)).toEqual([]);
});

test.runIf(isRoot)("root leaves a file its owner, and what it makes in a person's folder is the person's", async () => {
  const folder = await temporaryFolder();
  await chown(folder, 1_234, 1_235);
  const path = join(folder, "a");
  await writeFile(path, "one");
  await chown(path, 1_234, 1_235);
  await chmod(path, 0o640);
  await writePrivateFile(path, "two", { keepMode: true });
  await writePrivateFile(join(folder, ".config/cluster-connect/config.yaml"), "new");
  for (const name of ["a", ".config", ".config/cluster-connect", ".config/cluster-connect/config.yaml"]) {
    const { uid, gid } = await stat(join(folder, name));
    expect({ name, uid, gid }).toEqual({ name, uid: 1_234, gid: 1_235 });
  }
  expect(await modeOf(path)).toBe("640");
});

test("a file of somebody whom this process cannot give files to is written in place", async () => {
  const path = join(await temporaryFolder(), "a");
  await writeFile(path, "one");
  const owner = isRoot ? 1_234 : process.getuid?.();
  if (isRoot) await chown(path, 1_234, 1_234);
  await writePrivateFile(path, "two", { keepMode: true }, { ...SYSTEM, chown: failing("EPERM") });
  expect([await readFile(path, "utf8"), (await stat(path)).uid]).toEqual(["two", owner]);
});

test("whether a file can be written is found out without leaving anything", async () => {
  const folder = await temporaryFolder();
  await checkWritable(join(folder, "new/folder/a"));
  await writeFile(join(folder, "a"), "one");
  await checkWritable(join(folder, "a"));
  expect(await readdir(folder)).toEqual(["a"]);
  await expect(checkWritable(join(folder, "a/b"))).rejects.toThrow("a part of its path is not a folder");
  await mkdir(join(folder, "b"));
  await expect(checkWritable(join(folder, "b"))).rejects.toThrow(
    `${join(folder, "b")} cannot be written: it is a folder`,
  );
});

test.runIf(!isRoot)("a file that says read-only is not replaced behind its back", async () => {
  const path = join(await temporaryFolder(), "a");
  await writeFile(path, "one", { mode: 0o400 });
  await expect(checkWritable(path)).rejects.toThrow("permission denied");
});

test("folders that are made are their owner's alone", async () => {
  const folder = join(await temporaryFolder(), "a/b");
  await makePrivateFolder(folder);
  expect([await modeOf(folder), await modeOf(join(folder, ".."))]).toEqual(["700", "700"]);
});
