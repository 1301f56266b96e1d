import { ConnectError, ERRORS, toConnectError } from "@cluster-connect/protocol";
import { CommanderError } from "commander";
import type { CliDeps } from "./deps.ts";
import { writeFailure } from "./failure.ts";
import { createInterrupts } from "./interrupts.ts";
import { createLineOutput } from "./line-output.ts";
import { createProgram } from "./program.ts";
import { traceFetch } from "./trace-fetch.ts";

/**
 * Runs the command line tool.
 *
 * @param argv the words after the program's name.
 * @returns the exit code; every error has its own, see docs/errors.md.
 */
export async function run(argv: readonly string[], given: CliDeps): Promise<number> {
  const stderr = createLineOutput(given.stderr);
  const own = argv.slice(0, argv.indexOf("--") < 0 ? argv.length : argv.indexOf("--"));
  const level = verbosity(own);
  const deps: CliDeps = { ...given, stderr, ...(level < 2 ? {} : { fetch: traceFetch(given) }) };
  const interrupts = createInterrupts(deps.signals, () => deps.exit(ERRORS.CC_CANCELLED.exit));
  const result = { exitCode: 0 };
  try {
    const program = createProgram(argv, { deps, interrupts, signal: interrupts.signal }, result);
    if (argv.length === 0) {
      program.outputHelp();
      return 0;
    }
    await program.parseAsync(argv, { from: "user" });
    return result.exitCode;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    const found = error instanceof CommanderError ? usageError(error, argv) : reported(error, interrupts.signal);
    stderr.startLine();
    return writeFailure(found, { json: wantsJson(own), verbose: level > 0 }, deps);
  } finally {
    interrupts.dispose();
  }
}

/** `-v`, `-vv`, `--verbose`; each counts. */
function verbosity(words: readonly string[]): number {
  return words.reduce((level, word) => {
    if (word === "--verbose") return level + 1;
    return /^-v+$/.test(word) ? level + word.length - 1 : level;
  }, 0);
}

function usageError(error: CommanderError, argv: readonly string[]): ConnectError {
  // "error: unknown option '--foo'\n(Did you mean --bar?)" becomes one line.
  const message = error.message.replace(/^error: /, "").replaceAll(/\s*\n\s*/g, " ");
  // A command that does not exist has no help of its own.
  const known = error.code !== "commander.unknownCommand";
  const command = known ? argv.find((word) => /^[a-z]+$/.test(word)) : undefined;
  const hint = `Run \`cluster-connect${command === undefined ? "" : ` ${command}`} --help\`.`;
  return new ConnectError("CC_USAGE", message === "(outputHelp)" ? "A command is missing" : message, { hint });
}

/** What an interrupt made fail is the interrupt, whatever it looks like. */
function reported(error: unknown, signal: AbortSignal): ConnectError {
  if (signal.aborted && !(error instanceof ConnectError)) return toConnectError(signal.reason);
  return toConnectError(error);
}

function wantsJson(words: readonly string[]): boolean {
  return words.some((word, index) => {
    if (word === "-ojson" || word === "--output=json" || word === "-o=json") return true;
    return word === "json" && /^(-o|--output)$/.test(words[index - 1] ?? "");
  });
}
