import { systemCode } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ECONNRESET: "the connection was broken off",
  EHOSTUNREACH: "no route to the host",
  ENETUNREACH: "no route to the network",
  ENOTFOUND: "the name does not resolve",
  EAI_AGAIN: "the name server does not answer",
  ETIMEDOUT: "no answer in time",
  EPROTO: "it does not speak TLS",
  ERR_SSL_WRONG_VERSION_NUMBER: "it does not speak TLS",
};

/** The meaning of an error of the system or of TLS for a dialer. */
export function dialError(host: string, error: Error): ConnectError {
  const code = systemCode(error);
  if (isCertificateProblem(code)) {
    return new ConnectError("CC_TLS_UNTRUSTED", `The certificate of ${host} is not trusted: ${code}`, { cause: error });
  }
  const reason = REASONS[code] ?? (code === "" ? error.message : code);
  return new ConnectError("CC_RELAY_UNREACHABLE", `${host} cannot be reached: ${reason}`, { cause: error });
}

function isCertificateProblem(code: string): boolean {
  return /CERT|SELF_SIGNED|UNABLE_TO_|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE/.test(code);
}
