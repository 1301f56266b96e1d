import { createHash, X509Certificate } from "node:crypto";
import { certificateBlocks } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";

/** The certificates that may sign a cluster's serving certificate. */
export interface Authorities {
  /** In the given order, nothing between them. */
  readonly pem: string;
  /** SHA-256 of each certificate as openssl prints it: upper-case hex pairs joined by colons. */
  readonly fingerprints: readonly string[];
  /** SHA-256 of the public key of each, in the same order: a certificate that was renewed has the same. */
  readonly keys: readonly string[];
}

/**
 * Reads authorities that came from a relay or a file.
 *
 * @param where names their origin in the message.
 * @throws ConnectError `CC_RELAY_REFUSED` unless there is at least one certificate and each can be read.
 */
export function parseAuthorities(text: string, where: string): Authorities {
  const blocks = certificateBlocks(text);
  if (blocks.length === 0) throw new ConnectError("CC_RELAY_REFUSED", `${where} holds no certificate in PEM`);
  try {
    const certificates = blocks.map((block) => new X509Certificate(block));
    return {
      pem: certificates.map((certificate) => certificate.toString()).join(""),
      fingerprints: certificates.map((certificate) => fingerprint(certificate.raw)),
      keys: certificates.map(({ publicKey }) => fingerprint(publicKey.export({ format: "der", type: "spki" }))),
    };
  } catch (cause) {
    throw new ConnectError("CC_RELAY_REFUSED", `${where} holds a certificate that cannot be read`, { cause });
  }
}

function fingerprint(der: Uint8Array): string {
  const hex = createHash("sha256").update(der).digest("hex").toUpperCase();
  return (hex.match(/../g) ?? []).join(":");
}
