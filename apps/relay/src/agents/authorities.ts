import { X509Certificate } from "node:crypto";
import { certificateBlocks } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";

/** The certificates that sign a cluster's serving certificate. */
export interface ClusterAuthorities {
  /** In the agent's order, nothing between them. */
  readonly pem: string;
  /** SHA-256 of the first certificate, as openssl prints it: upper-case hex pairs joined by colons. */
  readonly fingerprint: string;
}

const MAX_CHARACTERS = 12_288;
const MAX_CERTIFICATES = 8;

/**
 * Reads an agent's announcement of its cluster's authorities.
 *
 * @throws ConnectError `CC_REQUEST_REFUSED` unless it is one to eight CA certificates in PEM.
 */
export function parseAuthorities(text: string): ClusterAuthorities {
  if (text.length > MAX_CHARACTERS) throw refusedAuthorities(`are longer than ${MAX_CHARACTERS} characters`);
  const blocks = certificateBlocks(text);
  if (blocks.length === 0 || blocks.length > MAX_CERTIFICATES) {
    throw refusedAuthorities(`are not 1 to ${MAX_CERTIFICATES} certificates in PEM`);
  }
  const certificates = blocks.map(parseCertificate);
  if (certificates.some((certificate) => !certificate.ca))
    throw refusedAuthorities("hold a certificate that is no authority");
  return {
    pem: certificates.map((certificate) => certificate.toString()).join(""),
    fingerprint: certificates[0]?.fingerprint256 ?? "",
  };
}

/**
 * Whether authorities follow from accepted ones: each is an accepted one, or has the key of one and has signed itself
 * with it. The agent does not have that key, so an agent that was broken into cannot make such a certificate.
 */
export function isRenewalOf(accepted: string, announced: string): boolean {
  const known = certificatesOf(accepted);
  const keys = new Set(known.map(keyOf));
  const fingerprints = new Set(known.map(({ fingerprint256 }) => fingerprint256));
  return certificatesOf(announced).every(
    (certificate) =>
      fingerprints.has(certificate.fingerprint256) ||
      (keys.has(keyOf(certificate)) && certificate.verify(certificate.publicKey)),
  );
}

/** SHA-256 of each announced certificate that is not accepted, in the agent's order. */
export function newFingerprints(accepted: string | null, announced: string): readonly string[] {
  const known = new Set(certificatesOf(accepted ?? "").map(({ fingerprint256 }) => fingerprint256));
  return certificatesOf(announced)
    .map(({ fingerprint256 }) => fingerprint256)
    .filter((fingerprint) => !known.has(fingerprint));
}

/**
 * Of the announced authorities, in PEM, the one with this fingerprint and those that are accepted already. A
 * certificate that an agent put beside them is not taken with them.
 */
export function acceptedWith(accepted: string | null, announced: string, fingerprint: string): string {
  const unnamed = new Set(newFingerprints(accepted, announced).filter((other) => other !== fingerprint));
  return certificatesOf(announced)
    .filter(({ fingerprint256 }) => !unnamed.has(fingerprint256))
    .map((certificate) => certificate.toString())
    .join("");
}

const certificatesOf = (pem: string): readonly X509Certificate[] => certificateBlocks(pem).map(parseCertificate);

function keyOf({ publicKey }: X509Certificate): string {
  return publicKey.export({ type: "spki", format: "der" }).toString("base64");
}

function parseCertificate(pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw refusedAuthorities("hold a certificate that cannot be read", cause);
  }
}

function refusedAuthorities(what: string, cause?: unknown): ConnectError {
  return new ConnectError("CC_REQUEST_REFUSED", `The cluster's authorities ${what}`, { cause });
}
