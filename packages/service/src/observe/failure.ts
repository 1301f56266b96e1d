import { ConnectError, ERRORS, type ErrorCode, toConnectError } from "@cluster-connect/protocol";

/** The last words and the exit code of a process that gives up. */
export interface Failure {
  /** `error:` and `hint:` lines for stderr, without a final line break. */
  readonly text: string;
  readonly exitCode: number;
}

/** How an error is shown to the person who started the process. */
export function describeFailure(error: unknown): Failure {
  const { code, message, hint } = toConnectError(error);
  return { text: `error: ${message} (${code})\nhint: ${hint}`, exitCode: ERRORS[code].exit };
}

export interface ErrorFields {
  readonly code: ErrorCode;
  readonly reason: string;
  readonly stack?: string;
}

/** An error's code and message as log fields; the stack only where the error was not expected. */
export function errorFields(error: unknown): ErrorFields {
  const { code, message } = toConnectError(error);
  if (error instanceof ConnectError || !(error instanceof Error) || error.stack === undefined) {
    return { code, reason: message };
  }
  return { code, reason: message, stack: error.stack };
}
