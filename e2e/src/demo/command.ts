import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:os";
import { ConnectError } from "@cluster-connect/protocol";
import type { Keeper } from "../process/keeper.ts";
import type { Interrupts } from "./interrupts.ts";

/** How the person's command is run. */
export interface CommandOptions {
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  /** Standard input is a terminal: the command stays in its foreground group, which Ctrl-C reaches by itself. */
  readonly onTerminal: boolean;
}

/**
 * Runs the person's command with this process's own input and output.
 *
 * @returns its exit code, or 128 and the number of the signal that ended it.
 * @throws ConnectError `CC_COMMAND_NOT_FOUND` when it cannot be started.
 */
export async function runCommand(
  [name = "", ...args]: readonly string[],
  options: CommandOptions,
  deps: { readonly keeper: Keeper; readonly interrupts: Interrupts },
): Promise<number> {
  const { env, cwd, onTerminal } = options;
  const { interrupts } = deps;
  interrupts.signal.throwIfAborted();
  // Off a terminal a group of its own, so that what the command started can be ended with it.
  const child = spawn(name, args, { stdio: "inherit", env, cwd, detached: !onTerminal });
  const ended = whenEnded(child, name);
  const target = onTerminal ? (child.pid ?? 0) : -(child.pid ?? 0);
  const release = child.pid === undefined ? () => {} : deps.keeper.adopt(target);
  const giveBack = interrupts.take((signal) => {
    if (!(onTerminal && signal === "SIGINT")) send(target, signal);
  });
  const kill = (): void => send(target, "SIGKILL");
  interrupts.signal.addEventListener("abort", kill, { once: true });
  try {
    return await ended;
  } finally {
    interrupts.signal.removeEventListener("abort", kill);
    giveBack();
    if (!onTerminal) send(target, "SIGKILL"); // what it left behind
    release();
  }
}

async function whenEnded(child: ChildProcess, name: string): Promise<number> {
  const ended = Promise.withResolvers<number>();
  child.once("exit", (code, signal) => ended.resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
  child.once("error", (cause) => {
    ended.reject(new ConnectError("CC_COMMAND_NOT_FOUND", `The command ${name} cannot be started`, { cause }));
  });
  return ended.promise;
}

/** Signals a process, or with a negative number its group; 0 is no process. */
function send(target: number, signal: NodeJS.Signals): void {
  if (target === 0) return;
  try {
    process.kill(target, signal);
  } catch {
    // It ended in between.
  }
}
