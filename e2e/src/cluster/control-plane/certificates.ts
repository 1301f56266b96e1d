import "reflect-metadata";
import { webcrypto } from "node:crypto";
import { isIP } from "node:net";
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from "@peculiar/x509";

/** A certificate and its private key, both PEM. */
export interface Identity {
  readonly certPem: string;
  readonly keyPem: string;
}

/** The subject of a leaf certificate. */
export interface LeafSpec {
  readonly commonName: string;
  /** Becomes the Kubernetes group of a client certificate. */
  readonly organization?: string;
  /** DNS names and IP addresses of a server. */
  readonly hosts?: readonly string[];
}

/** A throw-away certificate authority. */
export interface Authority {
  readonly certPem: string;
  issue(spec: LeafSpec): Promise<Identity>;
}

const ECDSA = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const LIFETIME_MS = 7 * 24 * 3_600_000;
const BACKDATE_MS = 60_000;

function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ECDSA, true, ["sign", "verify"]);
}

async function keyToPem(key: webcrypto.CryptoKey): Promise<string> {
  return PemConverter.encode(await webcrypto.subtle.exportKey("pkcs8", key), "PRIVATE KEY");
}

/** A P-256 key pair as PEM, for signing ServiceAccount tokens. */
export async function newKeyPairPem(): Promise<{ readonly privatePem: string; readonly publicPem: string }> {
  const keys = await newKeys();
  const spki = await webcrypto.subtle.exportKey("spki", keys.publicKey);
  return { privatePem: await keyToPem(keys.privateKey), publicPem: PemConverter.encode(spki, "PUBLIC KEY") };
}

/** Makes a CA that lives for a week. */
export async function createAuthority(commonName: string, deps: { readonly now: () => Date }): Promise<Authority> {
  const notBefore = new Date(deps.now().getTime() - BACKDATE_MS);
  const notAfter = new Date(deps.now().getTime() + LIFETIME_MS);
  const keys = await newKeys();
  const common = { notBefore, notAfter, signingAlgorithm: ECDSA };
  const certificate = await X509CertificateGenerator.createSelfSigned({
    ...common,
    name: [{ CN: [commonName] }],
    keys,
    extensions: [
      new BasicConstraintsExtension(true, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
    ],
  });
  const issue = async (spec: LeafSpec): Promise<Identity> => {
    const leafKeys = await newKeys();
    const hosts = spec.hosts ?? [];
    const leaf = await X509CertificateGenerator.create({
      ...common,
      subject: [...(spec.organization === undefined ? [] : [{ O: [spec.organization] }]), { CN: [spec.commonName] }],
      issuer: certificate.subjectName,
      publicKey: leafKeys.publicKey,
      signingKey: keys.privateKey,
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth]),
        ...(hosts.length === 0
          ? []
          : [
              new SubjectAlternativeNameExtension(
                hosts.map((value) => ({ type: isIP(value) === 0 ? "dns" : "ip", value })),
              ),
            ]),
      ],
    });
    return { certPem: leaf.toString("pem"), keyPem: await keyToPem(leafKeys.privateKey) };
  };
  return { certPem: certificate.toString("pem"), issue };
}
