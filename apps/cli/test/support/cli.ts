import { randomBytes } from "node:crypto";
import { EventEmitter } from "node:events";
import { fileURLToPath } from "node:url";
import { SYSTEM_CLOCK } from "@cluster-connect/base";
import type { CliDeps, Environment, TextOutput } from "../../src/deps.ts";
import { run } from "../../src/run.ts";

/** Path of the program's entry, for tests with real processes. */
export const MAIN = fileURLToPath(new URL("../../src/main.ts", import.meta.url));

/** A command line tool in this process, with a home folder of its own. */
export interface TestCli {
  readonly deps: CliDeps;
  readonly signals: EventEmitter;
  readonly out: () => string;
  readonly err: () => string;
  run(...argv: readonly string[]): Promise<number>;
  /** Resolves when standard error holds the text. */
  said(text: string): Promise<void>;
}

export function testCli(
  home: string,
  options: { readonly env?: Environment; readonly deps?: Partial<CliDeps> } = {},
): TestCli {
  const stdout = capture();
  const stderr = capture();
  const signals = new EventEmitter();
  const deps: CliDeps = {
    env: { PATH: process.env["PATH"], HOME: home, TMPDIR: home, CI: "", ...options.env },
    stdout: stdout.output,
    stderr: stderr.output,
    stdin: { isTerminal: false, readAll: async () => "" },
    fetch,
    clock: SYSTEM_CLOCK,
    now: Date.now,
    random: Math.random,
    randomBytes,
    signals,
    exit: () => {},
    self: { command: process.execPath, args: ["--conditions=source", MAIN] },
    platform: "linux",
    homeDir: home,
    pid: process.pid,
    // A person who has compared and agrees.
    ask: async (question) => {
      stderr.output.write(`${question}yes\n`);
      return "yes";
    },
    openBrowser: async () => false,
    openKeyStore: async () => undefined,
    trustAuthorities: () => {},
    ...options.deps,
  };
  return {
    deps,
    signals,
    out: stdout.text,
    err: stderr.text,
    run: (...argv) => run(argv, deps),
    said: stderr.said,
  };
}

function capture(): { output: TextOutput; text: () => string; said: (wanted: string) => Promise<void> } {
  let text = "";
  const waiting = new Set<() => void>();
  return {
    output: {
      write(more) {
        text += more;
        for (const check of waiting) check();
      },
      isTerminal: false,
      columns: 80,
    },
    text: () => text,
    said: (wanted) =>
      new Promise((resolve) => {
        const check = (): void => {
          if (!text.includes(wanted)) return;
          waiting.delete(check);
          resolve();
        };
        waiting.add(check);
        check();
      }),
  };
}
