import { chmod, mkdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { isPassing, launcherOf, missingProgram } from "../../src/platform/launcher.ts";

/** A file that can be started, in folders that are made. */
async function program(path: string): Promise<string> {
  await mkdir(join(path, ".."), { recursive: true });
  await writeFile(path, "#!/bin/sh\n");
  await chmod(path, 0o755);
  return path;
}

async function linked(path: string, target: string): Promise<string> {
  await mkdir(join(path, ".."), { recursive: true });
  await symlink(target, path);
  return path;
}

test("Node and the program are named by the links that stay when they are upgraded", async () => {
  const home = await temporaryFolder();
  const node = await program(join(home, "Cellar/node/24.21.0/bin/node"));
  const script = await program(join(home, "lib/node_modules/@cluster-connect/cli/cluster-connect.mjs"));
  const bin = join(home, "bin");
  await linked(join(bin, "node"), "../Cellar/node/24.21.0/bin/node");
  await linked(join(bin, "cluster-connect"), script);
  const env = { PATH: [join(home, "empty"), join(node, ".."), bin].join(delimiter) };
  const launcher = launcherOf({ env, execPath: node, execArgs: [], script });
  expect(launcher).toEqual({ command: join(bin, "node"), args: [join(bin, "cluster-connect")] });
  const entry = { ...launcher, args: [...launcher.args, "credential", "--ca-file", "/not/there"] };
  expect(missingProgram(entry)).toBeUndefined();
  // An upgrade moves the link; the old folder goes.
  await program(join(home, "Cellar/node/24.22.0/bin/node"));
  await rm(join(bin, "node"));
  await linked(join(bin, "node"), "../Cellar/node/24.22.0/bin/node");
  await rm(join(home, "Cellar/node/24.21.0"), { recursive: true });
  expect(missingProgram(entry)).toBeUndefined();
});

test("a single executable is named by the link on PATH", async () => {
  const home = await temporaryFolder();
  const executable = await program(join(home, "opt/cluster-connect-0.1.0/cluster-connect"));
  const link = await linked(join(home, "bin/cluster-connect"), executable);
  const env = { PATH: join(home, "bin") };
  expect(launcherOf({ env, execPath: executable, execArgs: [], script: undefined })).toEqual({
    command: link,
    args: [],
  });
  const elsewhere = launcherOf({
    env: { PATH: "relative::/nowhere" },
    execPath: executable,
    execArgs: [],
    script: undefined,
  });
  expect(elsewhere).toEqual({ command: executable, args: [] });
});

test("what another program of the same name leads to is not taken", async () => {
  const home = await temporaryFolder();
  const node = await program(join(home, "a/node"));
  const other = await program(join(home, "b/node"));
  const script = await program(join(home, "c/cluster-connect.mjs"));
  const env = { PATH: join(other, "..") };
  const launcher = launcherOf({ env, execPath: node, execArgs: ["--conditions=source"], script });
  expect(launcher).toEqual({ command: node, args: ["--conditions=source", script] });
});

test("folders that a version manager makes for one shell are passed over, and npx's cache is known for what it is", async () => {
  const home = await temporaryFolder();
  const node = await program(join(home, "versions/v24/bin/node"));
  const passing = await linked(join(home, "fnm_multishells/12_34/bin/node"), node);
  const script = await program(join(home, ".npm/_npx/0a1b/node_modules/@cluster-connect/cli/cluster-connect.mjs"));
  const env = { PATH: [join(passing, ".."), join(node, "..")].join(delimiter) };
  const launcher = launcherOf({ env, execPath: node, execArgs: [], script });
  expect(launcher.command).toBe(node);
  expect(isPassing(launcher)).toBe(true);
  expect(isPassing({ command: node, args: ["/usr/lib/node_modules/x.mjs"] })).toBe(false);
});

test("a program or script that is gone is named", async () => {
  const home = await temporaryFolder();
  const node = await program(join(home, "node"));
  const script = await program(join(home, "script.mjs"));
  const entry = { command: node, args: [script, "credential", "--token-file", "/not/there"] };
  expect(missingProgram(entry)).toBeUndefined();
  await rename(script, `${script}.old`);
  expect(missingProgram(entry)).toBe(script);
  await rm(node);
  expect(missingProgram(entry)).toBe(node);
});
