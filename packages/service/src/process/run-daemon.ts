import { SYSTEM_CLOCK } from "@cluster-connect/base";
import { createLogSink } from "../observe/log-sink.ts";
import type { DaemonProcess } from "./daemon.ts";
import { tooOldNode } from "./node-version.ts";
import { trustSystemAuthorities } from "./system-trust.ts";

/** How long the end of a process waits for the reader of its log. */
const FLUSH_MS = 2_000;
/** Reading the machine's certificates takes a moment, which a text alone does not need. */
const SHOWS_ONLY: ReadonlySet<string> = new Set(["--help", "-h", "--version"]);

/**
 * Runs a daemon in its process: hands over environment, signals and outputs, and writes what is left of the log at the
 * end.
 *
 * @returns the exit code.
 */
export async function runDaemon(
  argv: readonly string[],
  process: Pick<NodeJS.Process, "env" | "on" | "off" | "stdout" | "versions">,
  run: (argv: readonly string[], deps: DaemonProcess) => Promise<number>,
): Promise<number> {
  const logs = createLogSink({}, { clock: SYSTEM_CLOCK });
  const stderr = (line: string): void => logs.write(`${line}\n`);
  // A reader of stdout that went away is no reason to stop serving.
  process.stdout.on("error", () => {});
  const deps = { env: process.env, signals: process, stderr, logs };
  const tooOld = tooOldNode(process.versions.node);
  if (tooOld !== undefined) stderr(tooOld);
  else if (!argv.some((word) => SHOWS_ONLY.has(word))) trustSystemAuthorities();
  const exitCode =
    tooOld === undefined ? await run(argv, { ...deps, stdout: (line) => void process.stdout.write(`${line}\n`) }) : 1;
  await logs.close({ timeoutMs: FLUSH_MS });
  return exitCode;
}
