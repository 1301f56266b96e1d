import { ConnectError, ERRORS, toConnectError } from "@cluster-connect/protocol";
import type { RequestRecord } from "../observe/record.ts";
import type { HttpCaller } from "./caller.ts";
import { statusAnswer } from "./status-body.ts";

/**
 * Answers with our own word, or breaks the answer off when it has begun: a cut answer never looks complete.
 *
 * @param options.gone Aborted when no answer can be sent: the stream is closed, or another part gave its last answer.
 * @param options.close Whether the stream is of no use after it; one that carried a doubtful request never is.
 */
export function replyWithError(
  caller: HttpCaller,
  error: unknown,
  record: RequestRecord,
  options: { readonly close: boolean; readonly gone: AbortSignal },
): void {
  const known = knownError(error);
  // Why it was ended says more than that the caller is gone.
  record.code ??= known.code;
  record.reason ??= known.message;
  if (options.gone.aborted || caller.isGone()) return;
  if (caller.headSent() || caller.answer.destroyed) {
    caller.cut();
    return;
  }
  const { status, headers, body } = statusAnswer(known, {
    auditId: record.auditId,
    plain: readsTextAlone(caller, known),
  });
  record.status = status;
  record.bytes = body.length;
  const close = options.close || known.code === "CC_REQUEST_REFUSED";
  caller.sendHead({ status, headers, date: true, close });
  caller.answer.end(body);
}

/** client-go's discovery shows why it was refused from text alone; a Status there becomes the word "unknown". */
function readsTextAlone({ accept }: HttpCaller, error: ConnectError): boolean {
  return ERRORS[error.code].http === 403 && accept?.includes("g=apidiscovery.k8s.io") === true;
}

/** Nothing of an unexpected error is shown to a caller. */
function knownError(error: unknown): ConnectError {
  if (error instanceof ConnectError) return error;
  if (error instanceof Error && error.name === "TimeoutError") {
    return new ConnectError("CC_TIMEOUT", "The caller's identity could not be checked in time", { cause: error });
  }
  if (error instanceof Error && error.name === "AbortError") {
    return new ConnectError("CC_CANCELLED", "The caller gave up", { cause: error });
  }
  const { cause } = toConnectError(error);
  return new ConnectError("CC_INTERNAL", "The auth proxy failed", { cause });
}

/** The error written down when the caller is gone, whichever failure that caused. */
export function cancelled(cause: unknown): ConnectError {
  return new ConnectError("CC_CANCELLED", "The caller gave up", { cause });
}
