import { ConnectError, ERRORS, toConnectError } from "@cluster-connect/protocol";
import { type Command, CommanderError } from "commander";
import type { CliDeps } from "./deps.ts";
import { withIdsLast } from "./program/arguments.ts";
import { findCommand } from "./program/find-command.ts";
import { createProgram } from "./program/program.ts";
import { watchClock, withClock } from "./relay/clock-skew.ts";
import { traceFetch } from "./relay/trace-fetch.ts";
import { cleanOutput } from "./terminal/clean-output.ts";
import { writeFailure } from "./terminal/failure.ts";
import { createInterrupts } from "./terminal/interrupts.ts";
import { createLineOutput } from "./terminal/line-output.ts";

/**
 * Runs the command line tool.
 *
 * @param argv the words after the program's name.
 * @returns the exit code; every error has its own, see docs/errors.md.
 */
export async function run(argv: readonly string[], given: CliDeps): Promise<number> {
  const stderr = createLineOutput(cleanOutput(given.stderr));
  const own = argv.slice(0, argv.indexOf("--") < 0 ? argv.length : argv.indexOf("--"));
  const level = verbosity(own);
  const stdout = cleanOutput(given.stdout);
  const witness = watchClock(given);
  const { fetch } = witness;
  const traced = level < 2 ? fetch : traceFetch({ ...given, fetch });
  const deps: CliDeps = { ...given, stdout, stderr, fetch: traced };
  const interrupts = createInterrupts(deps.signals, () => deps.exit(ERRORS.CC_CANCELLED.exit));
  const result = { exitCode: 0 };
  const program = createProgram(argv, { deps, interrupts, signal: interrupts.signal }, result);
  try {
    if (argv.length === 0 || argv[0] === "help") {
      showHelp(program, argv.slice(1));
      return 0;
    }
    if (deps.isHomeless === true && KEEPING.has(argv[0] ?? "")) stderr.write(homelessWarning(deps));
    await program.parseAsync(withIdsLast(argv), { from: "user" });
    return result.exitCode;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    const found =
      error instanceof CommanderError
        ? usageError(error)
        : withClock(reported(error, interrupts.signal), witness, deps.now());
    stderr.startLine();
    return writeFailure(withHelp(found, program, argv), { json: wantsJson(own), verbose: level > 0 }, deps);
  } finally {
    interrupts.dispose();
  }
}

/** Commands that keep something: a login, a trust, an entry. */
const KEEPING: ReadonlySet<string> = new Set(["login", "proxy", "run", "kubeconfig"]);

function homelessWarning({ homeDir, env }: CliDeps): string {
  if (env["XDG_CONFIG_HOME"] && env["XDG_STATE_HOME"]) return "";
  const advice = "set HOME, or XDG_CONFIG_HOME and XDG_STATE_HOME, to keep it";
  return `warning: there is no home folder; what is remembered goes to ${homeDir}: ${advice}\n`;
}

/** `-v`, `-vv`, `--verbose`; each counts. */
function verbosity(words: readonly string[]): number {
  return words.reduce((level, word) => {
    if (word === "--verbose") return level + 1;
    return /^-v+$/.test(word) ? level + word.length - 1 : level;
  }, 0);
}

/** Shows the help of the command that the words name. @throws ConnectError `CC_USAGE` when they name none. */
function showHelp(program: Command, words: readonly string[]): void {
  const { command, unknown } = findCommand(program, words);
  if (unknown !== undefined) throw new ConnectError("CC_USAGE", `unknown command '${unknown}'`);
  command.outputHelp();
}

function usageError(error: CommanderError): ConnectError {
  // "error: unknown option '--foo'\n(Did you mean --bar?)" becomes one line.
  const message = error.message.replace(/^error: /, "").replaceAll(/\s*\n\s*/g, " ");
  return new ConnectError("CC_USAGE", message === "(outputHelp)" ? "A command is missing" : message);
}

/** A wrong use that has no better hint gets the command whose help says more. */
function withHelp(error: ConnectError, program: Command, argv: readonly string[]): ConnectError {
  if (error.code !== "CC_USAGE" || error.hint !== ERRORS.CC_USAGE.hint) return error;
  const { path } = findCommand(program, argv[0] === "help" ? argv.slice(1) : argv);
  const hint = `Run \`${["cluster-connect", ...path, "--help"].join(" ")}\`.`;
  return new ConnectError("CC_USAGE", error.message, { hint, cause: error.cause });
}

/** An error that an interrupt caused is reported as the interrupt, in any form. */
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
