import { systemCode } from "@cluster-connect/base";
import { ConnectError, type ErrorCode } from "@cluster-connect/protocol";

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ECONNRESET: "the connection was broken off",
  UND_ERR_SOCKET: "the connection was broken off",
  EHOSTUNREACH: "no route to the host",
  ENETUNREACH: "no route to the network",
  ENOTFOUND: "the name does not resolve",
  EAI_AGAIN: "the name server does not answer",
  ETIMEDOUT: "no answer in time",
  UND_ERR_CONNECT_TIMEOUT: "no answer in time",
  UND_ERR_HEADERS_TIMEOUT: "no answer in time",
  EPROTO: "it does not speak TLS",
  ERR_SSL_WRONG_VERSION_NUMBER: "it does not speak TLS",
};

/** Whether an error code means that a certificate did not pass. */
export function isCertificateProblem(code: string): boolean {
  return /CERT|SELF_SIGNED|UNABLE_TO_|ALTNAME|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE/.test(code);
}

/** Whether a certificate did not pass because of the time: the server's, or this machine's clock. */
export function isTimeProblem(code: string): boolean {
  return code === "CERT_HAS_EXPIRED" || code === "CERT_NOT_YET_VALID";
}

export const CERTIFICATE_TIME_HINT =
  "Compare this machine's clock with the time first, and set it (NTP) where it is wrong: a good certificate looks like this then. If it is right, have the server's certificate renewed.";

/**
 * A failed request in one line that names host and reason.
 *
 * @param unreachable the code when nothing usable answered; a bad certificate is always `CC_TLS_UNTRUSTED`.
 */
export function networkError(host: string, unreachable: ErrorCode, error: unknown): ConnectError {
  if (error instanceof ConnectError) return error;
  const code = deepestCode(error);
  if (isCertificateProblem(code)) {
    return new ConnectError("CC_TLS_UNTRUSTED", `The certificate of ${host} is not trusted: ${code}`, {
      cause: error,
      ...(isTimeProblem(code) ? { hint: CERTIFICATE_TIME_HINT } : {}),
    });
  }
  const timedOut = error instanceof Error && error.name === "TimeoutError";
  const reason = timedOut ? "no answer in time" : (REASONS[code] ?? (code === "" ? "no usable answer" : code));
  return new ConnectError(unreachable, `${host} cannot be reached: ${reason}`, { cause: error });
}

/** The system's code of a failure: `fetch` hides it in its causes, and in the parts of an aggregate. */
export function deepestCode(error: unknown): string {
  let found = "";
  let current = error;
  for (let depth = 0; depth < 8 && current instanceof Error; depth++) {
    const code = systemCode(current);
    if (code !== "") found = code;
    current = current instanceof AggregateError ? current.errors[0] : current.cause;
  }
  return found;
}
