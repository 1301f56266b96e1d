import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { selfSigned } from "@cluster-connect/testkit";

/** Files of a certificate for 127.0.0.1 that is its own authority. */
export interface CertificateFiles {
  readonly certFile: string;
  readonly keyFile: string;
  /** Both in one file, as haproxy wants them. */
  readonly pairFile: string;
}

const LIFETIME_MS = 24 * 3_600_000;

/** Makes a certificate for one run and writes it into a folder. */
export async function writeCertificate(folder: string, deps: { readonly now: () => Date }): Promise<CertificateFiles> {
  const notAfter = new Date(deps.now().getTime() + LIFETIME_MS);
  const { cert, key } = await selfSigned({ address: "127.0.0.1", name: "localhost", notAfter });
  const file = (name: string): string => join(folder, name);
  const files = { certFile: file("tls.crt"), keyFile: file("tls.key"), pairFile: file("tls.pem") };
  await writeFile(files.certFile, cert);
  await writeFile(files.keyFile, key, { mode: 0o600 });
  await writeFile(files.pairFile, `${cert}${key}`, { mode: 0o600 });
  return files;
}
