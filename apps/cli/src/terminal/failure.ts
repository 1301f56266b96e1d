import { systemCode } from "@cluster-connect/base";
import { ConnectError, ERRORS } from "@cluster-connect/protocol";
import type { CliDeps } from "../deps.ts";
import { printable } from "./printable.ts";
import { createStyle } from "./style.ts";

export interface FailureOptions {
  /** The command was asked for JSON: so is the error. */
  readonly json: boolean;
  /** Shows causes too. */
  readonly verbose: boolean;
}

/** Writes an error to standard error: one line that names what was wrong, one with the next command. */
export function writeFailure(
  error: ConnectError,
  options: FailureOptions,
  deps: Pick<CliDeps, "stderr" | "env">,
): number {
  const { code, message, hint } = error;
  const { exit } = ERRORS[code];
  const correlationId = correlationIdOf(error);
  if (options.json) {
    deps.stderr.write(
      `${JSON.stringify({ error: { code, message, hint, exit, ...(correlationId && { correlationId }) } })}\n`,
    );
    return exit;
  }
  const style = createStyle(deps.stderr, deps.env);
  deps.stderr.write(
    `${style.bad("error:")} ${printable(message)} (${code})\n${style.strong("hint:")} ${printable(hint)}\n`,
  );
  if (correlationId !== undefined) deps.stderr.write(`${style.faint("correlation id:")} ${correlationId}\n`);
  if (options.verbose) {
    for (const line of causesOf(error)) deps.stderr.write(`${style.faint("cause:")} ${line}\n`);
  }
  return exit;
}

/** Of the stream that failed, so that the relay's operator finds it in the logs. */
function correlationIdOf(error: unknown): string | undefined {
  let cause = error;
  for (let depth = 0; depth < 8 && cause instanceof Error; depth++) {
    if (cause instanceof ConnectError && cause.correlationId !== undefined) return cause.correlationId;
    cause = cause.cause;
  }
  return undefined;
}

/** Causes name what they are and where they happened; their texts may hold what others sent, so they stay out. */
function causesOf(error: ConnectError): readonly string[] {
  const lines: string[] = [];
  let cause = error.cause;
  for (let depth = 0; depth < 8 && cause instanceof Error; depth++) {
    const found = systemCode(cause);
    const code = found === "" ? "" : ` ${found}`;
    const text = cause instanceof ConnectError ? `: ${printable(cause.message)}` : "";
    lines.push(`${cause.name}${code}${text}`);
    if (error.code === "CC_INTERNAL" && cause.stack !== undefined) {
      lines.push(...cause.stack.split("\n").filter((line) => line.trimStart().startsWith("at ")));
    }
    cause = cause.cause;
  }
  return lines;
}
