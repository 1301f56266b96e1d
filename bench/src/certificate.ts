import "reflect-metadata";
import { webcrypto } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  BasicConstraintsExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from "@peculiar/x509";

/** Files of a certificate for 127.0.0.1 that is its own authority. */
export interface CertificateFiles {
  readonly certFile: string;
  readonly keyFile: string;
  /** Both in one file, as haproxy wants them. */
  readonly pairFile: string;
}

const ECDSA = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const LIFETIME_MS = 24 * 3_600_000;
const BACKDATE_MS = 60_000;

/** Makes a certificate for one run and writes it into a folder. */
export async function writeCertificate(folder: string, deps: { readonly now: () => Date }): Promise<CertificateFiles> {
  const keys = await webcrypto.subtle.generateKey(ECDSA, true, ["sign", "verify"]);
  const now = deps.now().getTime();
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: [{ CN: ["bench"] }],
    keys,
    notBefore: new Date(now - BACKDATE_MS),
    notAfter: new Date(now + LIFETIME_MS),
    signingAlgorithm: ECDSA,
    extensions: [
      new BasicConstraintsExtension(true, undefined, true),
      new SubjectAlternativeNameExtension([
        { type: "ip", value: "127.0.0.1" },
        { type: "dns", value: "localhost" },
      ]),
    ],
  });
  const cert = certificate.toString("pem");
  const key = PemConverter.encode(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey), "PRIVATE KEY");
  const file = (name: string): string => join(folder, name);
  const files = { certFile: file("tls.crt"), keyFile: file("tls.key"), pairFile: file("tls.pem") };
  await writeFile(files.certFile, `${cert}\n`);
  await writeFile(files.keyFile, `${key}\n`, { mode: 0o600 });
  await writeFile(files.pairFile, `${cert}\n${key}\n`, { mode: 0o600 });
  return files;
}
