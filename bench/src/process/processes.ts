import { type ChildProcess, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, rmdirSync, rmSync } from "node:fs";
import { mkdir, mkdtemp, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { MemoryReport } from "../programs/attend/memory-report.ts";

/** A process that was started. */
export interface Running {
  readonly name: string;
  readonly pid: number;
  readonly logPath: string;
  /** The next message of a Node process: a program of this workspace sends one when it is ready. */
  heard(): Promise<unknown>;
  /** Its answer to a message. */
  ask(message: string): Promise<unknown>;
  /** Memory of a Node process after a full collection. */
  memory(): Promise<MemoryReport>;
  stop(): Promise<void>;
}

export interface NodeOptions {
  readonly args?: readonly string[];
  /** For Node itself. */
  readonly execArgv?: readonly string[];
}

/** Everything a run starts; nothing of it outlives the run. */
export interface Processes {
  /** A folder of its own that is removed at the end. */
  readonly folder: string;
  /** A Node program, by the path of its `main.ts`. */
  node(name: string, main: string, options?: NodeOptions): Promise<Running>;
  /** Any other program, in the foreground. */
  program(name: string, command: string, args: readonly string[]): Promise<Running>;
  /** Removes an empty folder outside of {@link folder} at the end. */
  ownFolder(path: string): void;
  /** Ends everything at once and removes the folders; for the end of this process, where nothing can be awaited. */
  abandon(): void;
}

const ATTEND: string = new URL("../programs/attend/main.ts", import.meta.url).href;
const READY_TIMEOUT_MS = 20_000;
const STOP_GRACE_MS = 2_000;
const POLL_MS = 20;

export async function createProcesses(): Promise<Processes> {
  const folder = await mkdtemp(join(tmpdir(), "cc-bench-"));
  const logs = join(folder, "logs");
  await mkdir(logs);
  const children = new Set<ChildProcess>();
  const outside: string[] = [];
  let count = 0;

  async function adopt(name: string, start: (logFd: number) => ChildProcess): Promise<Running> {
    count += 1;
    const logPath = join(logs, `${count}-${name}.log`);
    const logFd = openSync(logPath, "a");
    const child = start(logFd);
    closeSync(logFd);
    children.add(child);
    child.once("exit", () => children.delete(child));
    await once(child, "spawn");
    return running(name, child, logPath);
  }

  return {
    folder,
    node: (name, main, { args = [], execArgv = [] } = {}) =>
      adopt(name, (logFd) =>
        fork(main, args, {
          execArgv: ["--conditions=source", "--expose-gc", `--import=${ATTEND}`, ...execArgv],
          env: { HOME: folder, PATH: "/usr/bin:/bin" },
          cwd: folder,
          stdio: ["ignore", logFd, logFd, "ipc"],
        }),
      ),
    program: (name, command, args) =>
      adopt(name, (logFd) =>
        // The kernel ends it when this process is killed.
        spawn("/usr/bin/setpriv", ["--pdeathsig", "SIGKILL", command, ...args], {
          env: { HOME: folder, PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
          cwd: folder,
          stdio: ["ignore", logFd, logFd],
        }),
      ),
    ownFolder: (path) => void outside.push(path),
    abandon() {
      for (const child of children) child.kill("SIGKILL");
      rmSync(folder, { recursive: true, force: true });
      for (const path of outside) rmdirSync(path);
    },
  };
}

function running(name: string, child: ChildProcess, logPath: string): Running {
  const { pid } = child;
  if (pid === undefined) throw new Error(`${name} was not started`);
  const heard = (): Promise<unknown> => nextMessage(name, child, logPath);
  const ask = async (message: string): Promise<unknown> => {
    const answer = heard();
    child.send(message);
    return await answer;
  };
  return {
    name,
    pid,
    logPath,
    heard,
    ask,
    memory: async () => (await ask("memory")) as MemoryReport,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, "exit");
      child.kill("SIGTERM");
      const late = new AbortController();
      delay(STOP_GRACE_MS, undefined, { signal: late.signal }).then(
        () => child.kill("SIGKILL"),
        () => undefined,
      );
      await gone;
      late.abort();
    },
  };
}

async function nextMessage(name: string, child: ChildProcess, logPath: string): Promise<unknown> {
  const settled = new AbortController();
  const signal = AbortSignal.any([settled.signal, AbortSignal.timeout(READY_TIMEOUT_MS)]);
  try {
    return await Promise.race([
      once(child, "message", { signal }).then(([message]) => message as unknown),
      once(child, "exit", { signal }).then(() => Promise.reject(new Error("it ended"))),
    ]);
  } catch (cause) {
    throw new Error(`${name} does not answer; its log ends: ${await lastLines(logPath)}`, { cause });
  } finally {
    settled.abort();
  }
}

/** Waits until a process has written something to its log. */
export async function logged({ name, logPath }: Running, text: string): Promise<void> {
  const deadline = performance.now() + READY_TIMEOUT_MS;
  while (!(await readFile(logPath, "utf8")).includes(text)) {
    if (performance.now() > deadline)
      throw new Error(`${name} is not ready; its log ends: ${await lastLines(logPath)}`);
    await delay(POLL_MS);
  }
}

async function lastLines(logPath: string): Promise<string> {
  return (await readFile(logPath, "utf8")).trim().split("\n").slice(-5).join("\n");
}
