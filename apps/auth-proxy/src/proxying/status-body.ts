import { type ConnectError, ERRORS } from "@cluster-connect/protocol";

/** An error as an answer that a Kubernetes client understands. */
export interface StatusAnswer {
  readonly status: number;
  /** Names and values in turn. */
  readonly headers: readonly string[];
  readonly body: Buffer;
}

const REASONS: Readonly<Record<number, string>> = {
  400: "BadRequest",
  401: "Unauthorized",
  403: "Forbidden",
  404: "NotFound",
  405: "MethodNotAllowed",
  408: "Timeout",
  413: "RequestEntityTooLarge",
  429: "TooManyRequests",
  431: "BadRequest",
  500: "InternalError",
  503: "ServiceUnavailable",
  504: "Timeout",
};
const DEFAULT_RETRY_AFTER_MS = 1_000;

/**
 * An error as `metav1.Status` in JSON, with the headers that belong to it.
 *
 * @param options.status Replaces the code's own HTTP status.
 * @param options.plain As one line of text instead.
 */
export function statusAnswer(
  error: ConnectError,
  options: { readonly status?: number; readonly auditId?: string; readonly plain?: boolean } = {},
): StatusAnswer {
  const status = options.status ?? ERRORS[error.code].http;
  const retryAfterSeconds = retryAfter(error, status);
  const text = options.plain
    ? messageOf(error, status)
    : JSON.stringify(statusObject(error, status, retryAfterSeconds));
  const body = Buffer.from(text);
  const headers = [
    ["Content-Type", options.plain ? "text/plain; charset=utf-8" : "application/json"],
    ["Content-Length", String(body.length)],
    ["Cache-Control", "no-cache, private"],
    ...(status === 401 ? [["WWW-Authenticate", "Bearer"]] : []),
    ...(retryAfterSeconds === undefined ? [] : [["Retry-After", String(retryAfterSeconds)]]),
    ...(options.auditId === undefined ? [] : [["Audit-Id", options.auditId]]),
  ];
  return { status, headers: headers.flat(), body };
}

/** The same as one line of a watch that ends with it. */
export function watchErrorEvent(error: ConnectError): Buffer {
  const object = statusObject(error, ERRORS[error.code].http, undefined);
  return Buffer.from(`${JSON.stringify({ type: "ERROR", object })}\n`);
}

/** The same as JSON text, for a stream that ends with it. */
export function statusText(error: ConnectError): string {
  return JSON.stringify(statusObject(error, ERRORS[error.code].http, undefined));
}

/** Clients look for the word with which the apiserver's own 401 begins. */
function messageOf(error: ConnectError, status: number): string {
  return `${status === 401 ? "Unauthorized: " : ""}${error.message} (${error.code})`;
}

function statusObject(error: ConnectError, status: number, retryAfterSeconds: number | undefined): object {
  return {
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Failure",
    message: messageOf(error, status),
    reason: REASONS[status] ?? "InternalError",
    details: {
      causes: [{ reason: error.code, message: error.hint }],
      ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
    },
    code: status,
  };
}

function retryAfter(error: ConnectError, status: number): number | undefined {
  if (status !== 429 && status !== 503) return undefined;
  return Math.max(1, Math.ceil((error.retryAfterMs ?? DEFAULT_RETRY_AFTER_MS) / 1_000));
}
