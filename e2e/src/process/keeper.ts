import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { ConnectError } from "@cluster-connect/protocol";
import type { KeeperReport, KeeperRequest, ProgramSpec } from "./messages.ts";

/** How a program ended. */
interface ProgramEnd {
  readonly code: number | null;
  readonly signal: string | null;
}

/** A running program that the keeper looks after. */
export interface Program {
  readonly name: string;
  readonly pid: number;
  readonly logPath: string;
  /** Resolves when it ended, however that came about. */
  readonly ended: Promise<ProgramEnd>;
  /** Sends a signal to its process group; nothing happens when it has ended. */
  signal(signal: NodeJS.Signals): void;
  /** SIGTERM, then SIGKILL after the grace time; resolves when it has ended. */
  stop(options?: { readonly graceMs?: number }): Promise<ProgramEnd>;
}

/** A process beside this one that ends programs and removes folders even when this one is killed. */
export interface Keeper extends AsyncDisposable {
  readonly pid: number;
  /** @throws ConnectError `CC_COMMAND_NOT_FOUND` when the program cannot be started. */
  start(program: ProgramSpec): Promise<Program>;
  /** Removes the folder at the end. */
  ownFolder(path: string): void;
  /** Removes the control group at the end. */
  ownCgroup(path: string): void;
  /** Ends a process of this one, too; returns the undo. */
  adopt(pid: number): () => void;
  /** Ends every program, removes the folders, and resolves when nothing is left. */
  stop(): Promise<void>;
}

const STOP_GRACE_MS = 4_000;
const KEEPER_PATH: string = fileURLToPath(new URL("./keeper/main.ts", import.meta.url));

interface Entry {
  readonly started: PromiseWithResolvers<number>;
  readonly ended: PromiseWithResolvers<ProgramEnd>;
  pid: number | undefined;
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // It ended in between.
  }
}

/** Applies a report; one of an unknown program was settled before. */
function apply(entries: Map<number, Entry>, report: KeeperReport): void {
  const entry = entries.get(report.id);
  if (entry === undefined) return;
  switch (report.kind) {
    case "started":
      entry.pid = report.pid;
      entry.started.resolve(report.pid);
      break;
    case "failed":
      entries.delete(report.id);
      entry.started.reject(new ConnectError("CC_COMMAND_NOT_FOUND", report.message));
      break;
    case "exited":
      entries.delete(report.id);
      entry.ended.resolve({ code: report.code, signal: report.signal });
      break;
  }
}

/** When the keeper itself was killed, this process ends what it started. */
function abandon(entries: Map<number, Entry>): void {
  for (const entry of entries.values()) {
    killGroup(entry.pid);
    entry.started.reject(new ConnectError("CC_INTERNAL", "the process that looks after the others ended"));
    entry.ended.resolve({ code: null, signal: "SIGKILL" });
  }
  entries.clear();
}

async function stopProgram(program: Program, graceMs: number): Promise<ProgramEnd> {
  program.signal("SIGTERM");
  const timer = setTimeout(() => program.signal("SIGKILL"), graceMs);
  try {
    return await program.ended;
  } finally {
    clearTimeout(timer);
  }
}

function forkKeeper(): ChildProcess {
  // A session of its own: Ctrl-C and a killed process group reach the owner, and only then, by it, the keeper.
  return fork(KEEPER_PATH, [], {
    detached: true,
    // The packages as their sources: a fresh clone has nothing compiled.
    execArgv: ["--conditions=source"],
    env: {},
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
}

/** Starts a keeper; it lives until {@link Keeper.stop} or the end of this process. */
export async function startKeeper(): Promise<Keeper> {
  const child = forkKeeper();
  const gone = once(child, "exit");
  await once(child, "spawn");
  const entries = new Map<number, Entry>();
  let lastId = 0;
  const send = (request: KeeperRequest): void => {
    if (child.connected) child.send(request);
  };
  child.on("message", (report: KeeperReport) => apply(entries, report));
  child.once("exit", () => abandon(entries));

  const start = async (spec: ProgramSpec): Promise<Program> => {
    const id = ++lastId;
    const entry: Entry = { started: Promise.withResolvers(), ended: Promise.withResolvers(), pid: undefined };
    if (!child.connected) throw new ConnectError("CC_INTERNAL", `${spec.name} cannot start: everything was stopped`);
    entries.set(id, entry);
    send({ kind: "start", id, program: spec });
    const pid = await entry.started.promise;
    const program: Program = {
      name: spec.name,
      pid,
      logPath: spec.logPath,
      ended: entry.ended.promise,
      signal: (signal) => send({ kind: "signal", id, signal }),
      stop: (options = {}) => stopProgram(program, options.graceMs ?? STOP_GRACE_MS),
    };
    return program;
  };
  const stop = async (): Promise<void> => {
    send({ kind: "end" });
    await gone;
  };
  return {
    pid: child.pid ?? 0,
    start,
    ownFolder: (path) => send({ kind: "folder", path }),
    ownCgroup: (path) => send({ kind: "cgroup", path }),
    adopt: (pid) => {
      send({ kind: "adopt", pid });
      return () => send({ kind: "release", pid });
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
