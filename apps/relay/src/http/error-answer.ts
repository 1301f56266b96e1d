import { ERRORS, type ErrorCode, toConnectError } from "@cluster-connect/protocol";
import { withStoreReason } from "../store/store-full.ts";

/** An error as the relay's HTTP answers show it. */
export interface ErrorAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: { readonly code: ErrorCode; readonly message: string; readonly hint: string };
}

const INTERNAL_MESSAGE = "The relay failed; its log says why";
const DEFAULT_RETRY_AFTER_MS = 1_000;

/** The HTTP form of an error; an unexpected one shows nothing of itself. */
export function errorAnswer(error: unknown): ErrorAnswer {
  const { code, message, hint, retryAfterMs } = toConnectError(withStoreReason(error));
  const { http: status, retry } = ERRORS[code];
  const retryAfter = retryAfterMs ?? DEFAULT_RETRY_AFTER_MS;
  return {
    status,
    headers: {
      "cache-control": "no-store",
      ...(status === 401 ? { "www-authenticate": "Bearer" } : {}),
      ...(retry ? { "retry-after": String(Math.ceil(retryAfter / 1_000)) } : {}),
    },
    body: { code, message: code === "CC_INTERNAL" ? INTERNAL_MESSAGE : message, hint },
  };
}
