import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { certificateBlocks } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import { fileError } from "./file-error.ts";
import { decodeText } from "./text-file.ts";

/** Certificates of a file, and how many others in it cannot be read. */
export interface CertificateFile {
  /** PEM, in the file's order. */
  readonly pem: string;
  readonly unreadable: number;
}

const TRUSTED = /-----BEGIN TRUSTED CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END TRUSTED CERTIFICATE-----/g;
const SEQUENCE = 0x30;

/**
 * Reads certificates as curl and openssl take them: PEM, with comments in any encoding, and OpenSSL's "trusted" form.
 *
 * @throws ConnectError `CC_FILE_MISSING` or `CC_FILE_UNREADABLE` naming the file, when not one can be read.
 */
export async function readCertificateFile(path: string): Promise<CertificateFile> {
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw fileError(path, "read", cause);
  });
  if (bytes[0] === SEQUENCE && (bytes[1] ?? 0) > 0x80) {
    throw new ConnectError("CC_FILE_UNREADABLE", `${path} is in DER, not in PEM`, {
      hint: `Convert it: openssl x509 -inform der -in ${path} -out ca.pem`,
    });
  }
  const blocks = certificateBlocks(textOfComments(bytes).replaceAll(TRUSTED, (_, body: string) => plainBlock(body)));
  if (blocks.length === 0) throw new ConnectError("CC_FILE_UNREADABLE", `${path} holds no certificate in PEM`);
  const readable = blocks.filter(isCertificate);
  if (readable.length === 0) {
    throw new ConnectError("CC_FILE_UNREADABLE", `${path} holds a certificate that cannot be read`);
  }
  // Each on lines of its own, however they were joined.
  const pem = readable.map((block) => new X509Certificate(block).toString()).join("");
  return { pem, unreadable: blocks.length - readable.length };
}

/** Comments are often in an old encoding; certificates are ASCII in each. */
function textOfComments(bytes: Uint8Array): string {
  try {
    return decodeText(bytes).text;
  } catch {
    return Buffer.from(bytes).toString("latin1");
  }
}

/** The certificate alone: the trusted form says after it what it is trusted for. */
function plainBlock(body: string): string {
  const der = Buffer.from(body, "base64");
  const lengthBytes = (der[1] ?? 0) & 0x7f;
  const isLong = (der[1] ?? 0) > 0x80 && lengthBytes <= 4 && der.length > 2 + lengthBytes;
  const end = isLong ? 2 + lengthBytes + der.readUIntBE(2, lengthBytes) : der.length;
  return `-----BEGIN CERTIFICATE-----\n${der.subarray(0, end).toString("base64")}\n-----END CERTIFICATE-----\n`;
}

function isCertificate(block: string): boolean {
  try {
    return new X509Certificate(block).raw.length > 0;
  } catch {
    return false;
  }
}
