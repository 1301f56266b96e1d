import type { ServerResponse } from "node:http";
import { ConnectError, ERRORS, toConnectError } from "@cluster-connect/protocol";
import type { RequestRecord } from "./request-log.ts";
import { statusAnswer } from "./status-body.ts";

/**
 * Answers with our own word, or breaks the answer off when it has begun: a cut answer never looks complete.
 *
 * @param options.close Whether the stream is of no use after it; one that carried a doubtful request never is.
 */
export function replyWithError(
  response: ServerResponse,
  error: unknown,
  record: RequestRecord,
  options: { readonly close: boolean },
): void {
  const known = knownError(error);
  // Why it was ended says more than that the caller is gone.
  record.code ??= known.code;
  record.reason ??= known.message;
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const { status, headers, body } = statusAnswer(known, {
    auditId: record.auditId,
    plain: readsTextAlone(response, known),
  });
  record.status = status;
  record.bytes = body.length;
  response.sendDate = true;
  const close = options.close || known.code === "CC_REQUEST_REFUSED";
  response.writeHead(status, close ? [...headers, "Connection", "close"] : [...headers]);
  response.end(body);
}

/** client-go's discovery shows why it was refused from text alone; a Status there becomes the word "unknown". */
function readsTextAlone(response: ServerResponse, error: ConnectError): boolean {
  return ERRORS[error.code].http === 403 && response.req.headers.accept?.includes("g=apidiscovery.k8s.io") === true;
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
