import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { pollUntil } from "../../../src/process/poll.ts";
import { runToEnd } from "../../../src/process/run-to-end.ts";

/** A person's terminal with a shell in it. */
export interface TmuxTerminal {
  /** Types a line and waits until the shell asks for the next one. */
  run(line: string): Promise<void>;
  /** Types a line and waits until the screen shows a match. */
  start(line: string, until: RegExp): Promise<RegExpExecArray>;
  /** Waits until the screen shows a match. */
  shows(pattern: RegExp): Promise<RegExpExecArray>;
  /** A key by tmux's name for it, such as `C-c`. */
  press(key: string): Promise<void>;
  /** Waits until the shell asks for the next command. */
  idle(): Promise<void>;
  clear(): Promise<void>;
  /** Types a line and the key that ends it. */
  type(line: string): Promise<void>;
  /** The text on the screen, without the prompt that waits. */
  screen(): Promise<string>;
}

const WAIT_MS = 60_000;
const COLUMNS = 110;
const ROWS = 60;
const PROMPT = "$";

/** Why there is no terminal on this machine; undefined when there can be one. */
export function noTmux(): string | undefined {
  return spawnSync("tmux", ["-V"]).status === 0 ? undefined : "tmux is not installed";
}

/**
 * Opens a terminal of tmux; it is closed with the test.
 *
 * @param folder an existing one, for tmux's socket.
 */
export async function openTmux(
  folder: string,
  name: string,
  env: Readonly<Record<string, string>>,
): Promise<TmuxTerminal> {
  const socket = join(folder, `${name}.tmux`);
  const tmux = async (...args: readonly string[]): Promise<string> => {
    const signal = AbortSignal.timeout(WAIT_MS);
    const whole = { PATH: process.env["PATH"] ?? "", ...env, TERM: "xterm-256color", LC_ALL: "C.UTF-8" };
    return (await runToEnd("tmux", ["-u", "-S", socket, "-f", "/dev/null", ...args], { env: whole, signal })).stdout;
  };
  // The shell gets this environment by way of the server, which the first command starts.
  const shell = `PS1='${PROMPT} ' exec sh`;
  await tmux("new-session", "-d", "-s", "one", "-x", String(COLUMNS), "-y", String(ROWS), shell);
  onTestFinished(async () => void (await tmux("kill-server")));
  const capture = async (): Promise<string> => (await tmux("capture-pane", "-p", "-J", "-t", "one")).trimEnd();
  const shows = async (pattern: RegExp): Promise<RegExpExecArray> => {
    const signal = AbortSignal.timeout(WAIT_MS);
    const found = pollUntil(async () => pattern.exec(await capture()) ?? undefined, { signal });
    return await found.catch(async (cause: unknown) => {
      throw new Error(`The screen does not show ${pattern}:\n${await capture()}`, { cause });
    });
  };
  const idle = async (): Promise<void> => void (await shows(/(^|\n)\$ ?$/));
  const type = async (line: string): Promise<void> => {
    await tmux("send-keys", "-t", "one", "-l", line);
    await tmux("send-keys", "-t", "one", "Enter");
  };
  await idle();
  return {
    run: async (line) => {
      await type(line);
      await shows(new RegExp(`${literally(line)}\\s`));
      await idle();
    },
    start: async (line, until) => {
      await type(line);
      return await shows(until);
    },
    shows,
    type,
    press: async (key) => void (await tmux("send-keys", "-t", "one", key)),
    idle,
    clear: async () => {
      await type("clear");
      await shows(/^\$ ?$/);
    },
    screen: async () => (await capture()).replace(/(^|\n)\$ ?$/, "").replaceAll(/[ \t]+$/gm, ""),
  };
}

function literally(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|]/g, "\\$&");
}
