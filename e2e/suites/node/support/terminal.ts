import { spawn } from "node:child_process";
import { once } from "node:events";
import { pollUntil } from "../../../src/process/poll.ts";
import { runToEnd } from "../../../src/process/run-to-end.ts";

/** A command in a pseudo-terminal. */
export interface Terminal {
  /** All that it has shown so far. */
  readonly shown: () => string;
  /** Waits until it shows a match. */
  shows(pattern: RegExp): Promise<RegExpExecArray>;
  type(text: string): void;
  /** As a person who drags the window's corner. */
  resize(rows: number, columns: number): Promise<void>;
  /** The command's exit code. */
  readonly ended: Promise<number>;
}

const WAIT_MS = 60_000;

/** Runs a shell command in a pseudo-terminal that `script` of util-linux makes. */
export async function openTerminal(command: string, env: Readonly<Record<string, string>>): Promise<Terminal> {
  const child = spawn("script", ["-qec", `tty; ${command}`, "/dev/null"], { env: { ...env, SHELL: "/bin/sh" } });
  let text = "";
  child.stdout.on("data", (chunk: Buffer) => {
    text += chunk.toString("latin1");
  });
  const ended = once(child, "close").then(([code]) => Number(code));
  const shows = (pattern: RegExp): Promise<RegExpExecArray> =>
    pollUntil(async () => pattern.exec(text) ?? undefined, { signal: AbortSignal.timeout(WAIT_MS) });
  const device = (await shows(/\/dev\/pts\/\d+/))[0];
  return {
    shown: () => text,
    shows,
    type: (typed) => void child.stdin.write(typed),
    resize: async (rows, columns) => {
      const size = ["rows", String(rows), "cols", String(columns)];
      await runToEnd("stty", ["-F", device, ...size], { env, signal: AbortSignal.timeout(WAIT_MS) });
    },
    ended,
  };
}
