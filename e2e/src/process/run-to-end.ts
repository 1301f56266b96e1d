import { spawn } from "node:child_process";
import { ConnectError } from "@cluster-connect/protocol";

/** How a short-lived command is run. */
export interface RunOptions {
  readonly env: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
  readonly cwd?: string;
  /** Given to the command's standard input. */
  readonly input?: string;
}

/** The outcome of a command that ended. */
export interface RunResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs a command to its end and collects what it wrote.
 *
 * @throws ConnectError `CC_COMMAND_NOT_FOUND` when it cannot be started; a code other than 0 is not an error here.
 */
export async function runToEnd(command: string, args: readonly string[], options: RunOptions): Promise<RunResult> {
  const child = spawn(command, [...args], {
    env: options.env,
    signal: options.signal,
    killSignal: "SIGKILL",
    stdio: ["pipe", "pipe", "pipe"],
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => stderr.push(chunk));
  child.stdin.on("error", () => {}); // a command that does not read its input
  child.stdin.end(options.input ?? "");
  const ended = Promise.withResolvers<number | null>();
  child.once("close", (code) => ended.resolve(code));
  child.once("error", (error) => {
    if (options.signal.aborted) ended.reject(options.signal.reason);
    else ended.reject(new ConnectError("CC_COMMAND_NOT_FOUND", `${command} cannot be started`, { cause: error }));
  });
  const code = await ended.promise;
  return { code, stdout: Buffer.concat(stdout).toString("utf8"), stderr: Buffer.concat(stderr).toString("utf8") };
}
