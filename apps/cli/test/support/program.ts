import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { onTestFinished } from "vitest";
import type { Environment } from "../../src/deps.ts";
import { MAIN } from "./cli.ts";

/** How a run of the program in a process of its own ended. */
export interface ProgramEnd {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** The program in a process of its own. */
export interface Program {
  readonly pid: number;
  readonly child: ChildProcess;
  readonly ended: Promise<ProgramEnd>;
  /** Resolves when standard error holds the text, or the program has ended. */
  said(wanted: string): Promise<void>;
}

export function startProgram(env: Environment, ...argv: readonly string[]): Program {
  const child = spawn(process.execPath, ["--conditions=source", MAIN, ...argv], {
    env: { PATH: process.env["PATH"], CLUSTER_CONNECT_TOKEN_STORE: "file", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  let err = "";
  const waiting = new Set<() => void>();
  const check = (): void => {
    for (const look of waiting) look();
  };
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    err += chunk;
    check();
  });
  const out = text(child.stdout);
  const ended = once(child, "close").then(async ([code]): Promise<ProgramEnd> => ({ code, out: await out, err }));
  return {
    pid: child.pid ?? 0,
    child,
    ended,
    said: (wanted) =>
      new Promise((resolve) => {
        const look = (): void => {
          if (err.includes(wanted)) resolve();
        };
        waiting.add(look);
        look();
        void ended.then(() => resolve());
      }),
  };
}
