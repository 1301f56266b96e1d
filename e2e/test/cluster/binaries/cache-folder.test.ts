import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { cacheRoot, fillOnce } from "../../../src/cluster/binaries/cache-folder.ts";
import { isExecutable } from "../../../src/cluster/binaries/find-executable.ts";

const signal = new AbortController().signal;

const put = (folder: string): Promise<void> => writeFile(join(folder, "tool"), "#!/bin/sh\n", { mode: 0o755 });

test("the cache is XDG_CACHE_HOME's, by default below the home directory", () => {
  expect(cacheRoot({ XDG_CACHE_HOME: "/cache", HOME: "/home/a" })).toBe("/cache/cluster-connect");
  expect(cacheRoot({ XDG_CACHE_HOME: "", HOME: "/home/a" })).toBe("/home/a/.cache/cluster-connect");
});

test("two that fill one folder at the same time fill it once", async () => {
  const parent = await temporaryFolder();
  let fills = 0;
  const deps = {
    isComplete: () => isExecutable(join(parent, "1.0", "tool")),
    fill: async (folder: string): Promise<void> => {
      fills++;
      await put(folder);
    },
  };
  await Promise.all([fillOnce(parent, "1.0", { signal }, deps), fillOnce(parent, "1.0", { signal }, deps)]);
  expect(fills).toBe(1);
  expect(await readdir(join(parent, "1.0"))).toEqual(["tool"]);
});

test("a filling that fails leaves neither the folder nor a temporary one", async () => {
  const parent = await temporaryFolder();
  const fill = async (folder: string): Promise<void> => {
    await put(folder);
    throw new Error("no disk");
  };
  await expect(fillOnce(parent, "1.0", { signal }, { isComplete: async () => false, fill })).rejects.toThrow("no disk");
  expect(await readdir(parent)).toEqual([".lock-1.0"]);
});

test("what a killed process left half filled is removed", async () => {
  const parent = await temporaryFolder();
  await mkdir(join(parent, ".making-1.0-left-behind"));
  await fillOnce(parent, "1.0", { signal }, { isComplete: async () => false, fill: put });
  expect((await readdir(parent)).sort()).toEqual([".lock-1.0", "1.0"]);
});

test("an incomplete folder is replaced", async () => {
  const parent = await temporaryFolder();
  await mkdir(join(parent, "1.0"));
  await writeFile(join(parent, "1.0", "half"), "");
  await fillOnce(parent, "1.0", { signal }, { isComplete: async () => false, fill: put });
  expect(await readdir(join(parent, "1.0"))).toEqual(["tool"]);
});
