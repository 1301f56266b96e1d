import { ConnectError, type EndPayload } from "@cluster-connect/protocol";

/** The content of a REJECT or RESET, as an error. */
export function errorOf(end: EndPayload): ConnectError {
  const code = end.code ?? "CC_STREAM_RESET";
  const text = end.text === "" ? "The other end broke the stream off" : end.text;
  return new ConnectError(code, text, end.retryAfterMs > 0 ? { retryAfterMs: end.retryAfterMs } : {});
}
