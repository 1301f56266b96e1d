import { X509Certificate } from "node:crypto";
import { ConnectError } from "@cluster-connect/protocol";

/** The certificates that sign a cluster's serving certificate. */
export interface Authorities {
  /** In the agent's order, nothing between them. */
  readonly pem: string;
  /** SHA-256 of the first certificate, as openssl prints it: upper-case hex pairs joined by colons. */
  readonly fingerprint: string;
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;
const MAX_CHARACTERS = 12_288;
const MAX_CERTIFICATES = 8;

/**
 * Reads what an agent says about its cluster's authorities.
 *
 * @throws ConnectError `CC_REQUEST_REFUSED` unless it is one to eight CA certificates in PEM.
 */
export function parseAuthorities(text: string): Authorities {
  if (text.length > MAX_CHARACTERS) throw refused(`are longer than ${MAX_CHARACTERS} characters`);
  const blocks = text.match(CERTIFICATE) ?? [];
  if (blocks.length === 0 || blocks.length > MAX_CERTIFICATES) {
    throw refused(`are not 1 to ${MAX_CERTIFICATES} certificates in PEM`);
  }
  const certificates = blocks.map(parseCertificate);
  if (certificates.some((certificate) => !certificate.ca)) throw refused("hold a certificate that is no authority");
  return {
    pem: certificates.map((certificate) => certificate.toString()).join(""),
    fingerprint: certificates[0]?.fingerprint256 ?? "",
  };
}

function parseCertificate(pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw refused("hold a certificate that cannot be read", cause);
  }
}

function refused(what: string, cause?: unknown): ConnectError {
  return new ConnectError("CC_REQUEST_REFUSED", `The cluster's authorities ${what}`, { cause });
}
