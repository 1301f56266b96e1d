import { readFileSync } from "node:fs";
import { z } from "zod";
import type { Environment } from "../config/environment.ts";
import { describeFailure } from "../observe/failure.ts";
import type { LogSink } from "../observe/log-sink.ts";
import type { SignalSource } from "./shutdown.ts";

/** The process of a daemon, as an argument. */
export interface DaemonProcess {
  readonly env: Environment;
  readonly signals: SignalSource;
  /** Writes a line. */
  readonly stdout: (line: string) => void;
  readonly stderr: (line: string) => void;
  /** Where its log goes. */
  readonly logs: LogSink;
}

/** Does a daemon's task and tells on stderr why it failed. @returns the task's exit code, or the failure's. */
export async function exitCodeOf(
  task: () => Promise<number>,
  { stderr }: Pick<DaemonProcess, "stderr">,
): Promise<number> {
  try {
    return await task();
  } catch (error) {
    const { text, exitCode } = describeFailure(error);
    stderr(text);
    return exitCode;
  }
}

const PACKAGE = z.object({ version: z.string() });

/**
 * Product and version, for HELLO, logs and `--version`.
 *
 * @param packageFile the product's package.json.
 */
export function readSoftware(product: string, packageFile: URL): string {
  return `${product}/${PACKAGE.parse(JSON.parse(readFileSync(packageFile, "utf8"))).version}`;
}
