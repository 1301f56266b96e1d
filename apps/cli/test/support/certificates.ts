import "reflect-metadata";
import type { webcrypto } from "node:crypto";
import {
  BasicConstraintsExtension,
  cryptoProvider,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from "@peculiar/x509";

cryptoProvider.set(globalThis.crypto);

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const SERVER_AUTH = "1.3.6.1.5.5.7.3.1";
const DAY_MS = 86_400_000;

/** A certificate with its private key, PEM. */
export interface Identity {
  readonly cert: string;
  readonly key: string;
}

export interface TestAuthority {
  readonly pem: string;
  issue(dnsName: string): Promise<Identity>;
}

/** A certificate authority for one test. */
export async function createAuthority(): Promise<TestAuthority> {
  const keys = await newKeys();
  const authority = await X509CertificateGenerator.createSelfSigned({
    name: "CN=test authority",
    keys,
    ...validity(),
    signingAlgorithm: ALGORITHM,
    extensions: [
      new BasicConstraintsExtension(true, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
    ],
  });
  return {
    pem: `${authority.toString("pem")}\n`,
    async issue(dnsName) {
      const own = await newKeys();
      const certificate = await X509CertificateGenerator.create({
        subject: `CN=${dnsName}`,
        issuer: authority.subject,
        publicKey: own.publicKey,
        signingKey: keys.privateKey,
        signingAlgorithm: ALGORITHM,
        ...validity(),
        extensions: [
          new SubjectAlternativeNameExtension([{ type: "dns", value: dnsName }]),
          new ExtendedKeyUsageExtension([SERVER_AUTH]),
        ],
      });
      const der = await crypto.subtle.exportKey("pkcs8", own.privateKey);
      const base64 = Buffer.from(der).toString("base64");
      const key = `-----BEGIN PRIVATE KEY-----\n${base64}\n-----END PRIVATE KEY-----\n`;
      return { cert: certificate.toString("pem"), key };
    },
  };
}

async function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
}

function validity(): { notBefore: Date; notAfter: Date } {
  return { notBefore: new Date(Date.now() - DAY_MS), notAfter: new Date(Date.now() + DAY_MS) };
}
