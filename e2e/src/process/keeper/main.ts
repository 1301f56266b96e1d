/**
 * The keeper: starts the programs that its owner asks for, and ends them all, and their folder, when the owner ends.
 * A request, an exception, Ctrl-C and SIGKILL are alike here: each closes the channel between the two.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, rmSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { removeCgroup } from "../cgroup.ts";
import type { KeeperReport, KeeperRequest, ProgramSpec } from "../messages.ts";

const GRACE_MS = 2_000;
const LOOK_EVERY_MS = 20;

const running = new Map<number, ChildProcess>();
const adopted = new Set<number>();
const folders = new Set<string>();
const cgroups = new Set<string>();

function report(message: KeeperReport): void {
  if (process.connected) process.send?.(message);
}

function start(id: number, program: ProgramSpec): void {
  const log = openSync(program.logPath, "a", 0o600);
  const child = spawn(program.command, [...program.args], {
    cwd: program.cwd,
    env: { ...program.env },
    stdio: ["ignore", log, log],
    detached: true,
  });
  closeSync(log);
  child.once("spawn", () => {
    running.set(id, child);
    report({ kind: "started", id, pid: child.pid ?? 0 });
  });
  child.once("error", (error) => {
    if (child.pid === undefined) report({ kind: "failed", id, message: error.message });
  });
  child.once("exit", (code, signal) => {
    running.delete(id);
    signalGroup(child.pid, "SIGKILL"); // what it started and left behind
    report({ kind: "exited", id, code, signal });
  });
}

/** Signals the process group that a program leads. */
function signalGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // It ended in between.
  }
}

function signalAdopted(signal: NodeJS.Signals): void {
  for (const pid of adopted) {
    try {
      process.kill(pid, signal);
    } catch {
      adopted.delete(pid);
    }
  }
}

async function end(): Promise<never> {
  const deadline = AbortSignal.timeout(GRACE_MS);
  signalAdopted("SIGTERM");
  for (const child of running.values()) signalGroup(child.pid, "SIGTERM");
  while (running.size > 0 && !deadline.aborted) await delay(LOOK_EVERY_MS);
  for (const child of running.values()) signalGroup(child.pid, "SIGKILL");
  signalAdopted("SIGKILL");
  while (running.size > 0) await delay(LOOK_EVERY_MS);
  for (const path of cgroups) await removeCgroup(path).catch(() => {});
  for (const path of folders) rmSync(path, { recursive: true, force: true, maxRetries: 5 });
  process.exit(0);
}

let ending: Promise<never> | undefined;
const endOnce = (): void => {
  ending ??= end();
};

process.on("disconnect", endOnce);
// The owner decides when to end; signals that a terminal or a supervisor sends to both are the owner's business.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {});
process.on("message", (request: KeeperRequest) => {
  switch (request.kind) {
    case "start":
      if (ending === undefined) start(request.id, request.program);
      else report({ kind: "failed", id: request.id, message: "everything is being stopped" });
      break;
    case "signal":
      signalGroup(running.get(request.id)?.pid, request.signal);
      break;
    case "folder":
      folders.add(request.path);
      break;
    case "cgroup":
      cgroups.add(request.path);
      break;
    case "adopt":
      adopted.add(request.pid);
      break;
    case "release":
      adopted.delete(request.pid);
      break;
    case "end":
      endOnce();
      break;
  }
});
