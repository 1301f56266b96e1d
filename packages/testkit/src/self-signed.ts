import "reflect-metadata";
import { KeyObject, webcrypto } from "node:crypto";
import { BasicConstraintsExtension, SubjectAlternativeNameExtension, X509CertificateGenerator } from "@peculiar/x509";

/** A self-signed certificate for an address (127.0.0.1 unless another is given) and its key, PEM. Good for an hour. */
export async function selfSigned(
  options: { readonly address?: string; readonly notAfter?: Date } = {},
): Promise<{ readonly cert: string; readonly key: string }> {
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      keys,
      name: "CN=relay",
      signingAlgorithm: algorithm,
      notAfter: options.notAfter ?? new Date(Date.now() + 3_600_000),
      extensions: [
        new BasicConstraintsExtension(true),
        new SubjectAlternativeNameExtension([{ type: "ip", value: options.address ?? "127.0.0.1" }]),
      ],
    },
    webcrypto,
  );
  return {
    cert: certificate.toString("pem"),
    key: KeyObject.from(keys.privateKey).export({ type: "pkcs8", format: "pem" }).toString(),
  };
}
