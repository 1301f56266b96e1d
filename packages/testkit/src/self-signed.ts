import "reflect-metadata";
import { KeyObject, webcrypto } from "node:crypto";
import {
  BasicConstraintsExtension,
  type JsonGeneralName,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from "@peculiar/x509";

const LIFETIME_MS = 3_600_000;
const ALGORITHMS = {
  ec: { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" },
  rsa: {
    name: "RSASSA-PKCS1-v1_5",
    modulusLength: 2_048,
    publicExponent: Uint8Array.of(1, 0, 1),
    hash: "SHA-256",
  },
} as const;

/** A self-signed certificate; for the address 127.0.0.1 where neither a name nor an address is given. */
export interface SelfSignedOptions {
  readonly name?: string;
  readonly address?: string;
  /** An hour from now without it. */
  readonly notAfter?: Date;
  /** `ec`, P-256, without it. */
  readonly kind?: "ec" | "rsa";
}

/** A certificate that is its own authority, and its key, both PEM. */
export async function selfSigned(
  options: SelfSignedOptions = {},
): Promise<{ readonly cert: string; readonly key: string }> {
  const { name, address = name === undefined ? "127.0.0.1" : undefined, kind = "ec" } = options;
  const names: JsonGeneralName[] = [
    ...(address === undefined ? [] : [{ type: "ip", value: address } as const]),
    ...(name === undefined ? [] : [{ type: "dns", value: name } as const]),
  ];
  const algorithm = ALGORITHMS[kind];
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      keys,
      name: `CN=${name ?? address}`,
      signingAlgorithm: algorithm,
      notAfter: options.notAfter ?? new Date(Date.now() + LIFETIME_MS),
      extensions: [new BasicConstraintsExtension(true), new SubjectAlternativeNameExtension(names)],
    },
    webcrypto,
  );
  return {
    cert: `${certificate.toString("pem")}\n`,
    key: KeyObject.from(keys.privateKey).export({ type: "pkcs8", format: "pem" }).toString(),
  };
}
