import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, onTestFinished, test } from "vitest";
import { type Keeper, startKeeper } from "../../src/process/keeper.ts";
import type { ProgramSpec } from "../../src/process/messages.ts";
import { pollUntil } from "../../src/process/poll.ts";

const OWNER = fileURLToPath(new URL("./fixtures/owner.ts", import.meta.url));
const DEADLINE_MS = 20_000;

function shell(folder: string, script: string): ProgramSpec {
  const logPath = join(folder, "program.log");
  return {
    name: "program",
    command: "/bin/sh",
    args: ["-c", script],
    env: { PATH: "/usr/bin:/bin" },
    cwd: folder,
    logPath,
  };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function untilGone(pids: readonly number[]): Promise<void> {
  await pollUntil(async () => (pids.some(isAlive) ? undefined : true), { signal: AbortSignal.timeout(DEADLINE_MS) });
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

async function keeperForTest(): Promise<Keeper> {
  const keeper = await startKeeper();
  onTestFinished(() => keeper.stop());
  return keeper;
}

async function readNumber(path: string): Promise<number> {
  return pollUntil(
    async () => {
      const text = await readFile(path, "utf8").catch(() => "");
      return text.endsWith("\n") ? Number(text.trim()) : undefined;
    },
    { signal: AbortSignal.timeout(DEADLINE_MS) },
  );
}

test("a program's output lands in its log and its exit code is reported", async () => {
  const folder = await temporaryFolder();
  const keeper = await keeperForTest();
  const program = await keeper.start(shell(folder, "echo out; echo err >&2; exit 7"));
  expect(await program.ended).toEqual({ code: 7, signal: null });
  expect(await readFile(program.logPath, "utf8")).toBe("out\nerr\n");
});

test.runIf(process.platform === "linux")("runs on the sources, so that it needs nothing compiled", async () => {
  await using keeper = await startKeeper();
  const words = (await readFile(`/proc/${keeper.pid}/cmdline`, "utf8")).split("\0");
  expect(words).toContain("--conditions=source");
});

test("a command that does not exist is reported as CC_COMMAND_NOT_FOUND", async () => {
  const folder = await temporaryFolder();
  const keeper = await keeperForTest();
  const missing = { ...shell(folder, ""), command: join(folder, "missing") };
  await expect(keeper.start(missing)).rejects.toMatchObject({ code: "CC_COMMAND_NOT_FOUND" });
});

test("a program that ignores SIGTERM is killed after the grace time", async () => {
  const folder = await temporaryFolder();
  const keeper = await keeperForTest();
  const program = await keeper.start(shell(folder, "trap '' TERM; echo 1 > ready; while :; do sleep 1; done"));
  await readNumber(join(folder, "ready"));
  expect(await program.stop({ graceMs: 50 })).toEqual({ code: null, signal: "SIGKILL" });
});

test("what a program started ends with the program", async () => {
  const folder = await temporaryFolder();
  const keeper = await keeperForTest();
  const program = await keeper.start(shell(folder, "sleep 1000 & echo $! > child; exit 0"));
  const child = await readNumber(join(folder, "child"));
  await program.ended;
  await untilGone([child]);
});

test("stopping ends every program and removes the folder", async () => {
  const folder = join(await temporaryFolder(), "owned");
  await mkdir(folder);
  const keeper = await startKeeper();
  keeper.ownFolder(folder);
  const program = await keeper.start(shell(folder, "exec sleep 1000"));
  await keeper.stop();
  expect(isAlive(program.pid)).toBe(false);
  expect(isAlive(keeper.pid)).toBe(false);
  expect(await exists(folder)).toBe(false);
  await expect(keeper.start(shell(folder, "true"))).rejects.toMatchObject({ code: "CC_INTERNAL" });
});

test("an adopted process is ended too, a released one is not", async () => {
  const keeper = await startKeeper();
  const children = [0, 1].map(() => spawn("/bin/sleep", ["1000"], { stdio: "ignore" }));
  const [adopted, released] = children.map((child) => child.pid ?? 0);
  const ended = children.map((child) => once(child, "exit"));
  keeper.adopt(adopted ?? 0);
  keeper.adopt(released ?? 0)();
  await keeper.stop();
  await ended[0];
  expect(isAlive(released ?? 0)).toBe(true);
  children[1]?.kill("SIGKILL");
  await ended[1];
});

test("an owner killed by SIGKILL leaves no process and no folder", async () => {
  const folder = join(await temporaryFolder(), "owned");
  await mkdir(folder);
  const owner = spawn(process.execPath, ["--conditions=source", OWNER, folder], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = await once(createInterface({ input: owner.stdout }), "line");
  const pids: { readonly keeper: number; readonly program: number } = JSON.parse(line);
  const grandchild = await readNumber(join(folder, "stubborn.log"));
  const all = [pids.keeper, pids.program, grandchild];
  expect(all.every(isAlive)).toBe(true);
  owner.kill("SIGKILL");
  await untilGone(all);
  expect(await exists(folder)).toBe(false);
});

test("when the keeper itself is killed, the owner ends its programs", async () => {
  const folder = await temporaryFolder();
  const keeper = await startKeeper();
  const program = await keeper.start(shell(folder, "exec sleep 1000"));
  process.kill(keeper.pid, "SIGKILL");
  await program.ended;
  await untilGone([program.pid]);
});
