import { certificateBlocks, systemCode } from "@cluster-connect/base";
import "reflect-metadata";
import {
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  randomBytes,
  webcrypto,
  X509Certificate,
} from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { isIP } from "node:net";
import { join } from "node:path";
import { ConnectError } from "@cluster-connect/protocol";
import { writeFileAtomic } from "@cluster-connect/service";
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

/** A serving certificate and its key, both PEM. */
export interface ServingIdentity {
  readonly certPem: string;
  readonly keyPem: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
}

/** The cluster's own certificate authority. */
export interface Authority {
  /** The newest certificate of its key. */
  readonly certPem: string;
  /** Certificates for clients to trust: {@link certPem}, then earlier ones of the same key that are still valid. */
  readonly trustPem: string;
  readonly notAfter: Date;
  /** SHA-256 of the certificate, `AB:CD:…` as the relay and the CLI show it, to compare out of band. */
  readonly fingerprint: string;
  /** A certificate for these DNS names and addresses; it never outlives the authority. */
  issue(hosts: readonly string[], options: { readonly seconds: number; readonly now: Date }): Promise<ServingIdentity>;
  /**
   * Makes a further certificate of the same key and name, so that clients that trust an earlier one need no other.
   *
   * @returns the authority file's new content.
   */
  renew(options: { readonly seconds: number; readonly now: Date }): Promise<string>;
}

const ECDSA = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
/** Clocks of clients may be behind ours. */
const BACKDATE_MS = 60_000;
/** Enough for a client that looks once within a certificate's life. */
const MAX_CERTIFICATES = 4;
/** Key and certificates in one file, the newest first, so that all are replaced in one step. */
export const AUTHORITY_FILE = "authority.pem";

/**
 * The authority in the state folder; made there, key and all, when there is none yet.
 *
 * @throws ConnectError `CC_FILE_UNREADABLE` when the file is there and is not a key with its certificate, or cannot be
 *   written.
 */
export async function loadAuthority(
  stateDir: string,
  options: { readonly clusterId: string; readonly seconds: number; readonly now: Date },
): Promise<Authority> {
  const found = await readAuthority(stateDir, options.now);
  return found ?? (await writeAuthority(stateDir, await makeAuthority(options), options.now));
}

/**
 * The authority in the state folder, undefined when there is none.
 *
 * @throws ConnectError `CC_FILE_UNREADABLE` when the file is there and is not a key with its certificates.
 */
export async function readAuthority(stateDir: string, now: Date): Promise<Authority | undefined> {
  const file = join(stateDir, AUTHORITY_FILE);
  const text = await readIfThere(file);
  return text === undefined ? undefined : parseAuthority(text, file, now);
}

/** Replaces the file in one step. @throws ConnectError `CC_FILE_UNREADABLE` when it cannot be written. */
export async function writeAuthority(stateDir: string, text: string, now: Date): Promise<Authority> {
  const file = join(stateDir, AUTHORITY_FILE);
  try {
    await mkdir(stateDir, { recursive: true, mode: 0o700 });
    await writeFileAtomic(file, text, { mode: 0o600 });
  } catch (cause) {
    throw new ConnectError("CC_FILE_UNREADABLE", `stateDir: ${file} cannot be written`, { cause });
  }
  return parseAuthority(text, file, now);
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    if (systemCode(cause) === "ENOENT") return undefined;
    throw new ConnectError("CC_FILE_UNREADABLE", `stateDir: ${file} cannot be read`, { cause });
  }
}

async function makeAuthority(options: {
  readonly clusterId: string;
  readonly seconds: number;
  readonly now: Date;
}): Promise<string> {
  const keys = await webcrypto.subtle.generateKey(ECDSA, true, ["sign", "verify"]);
  const certificate = await selfSigned(keys, `CN=cluster-connect ${options.clusterId}`, options);
  const key = PemConverter.encode(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey), "PRIVATE KEY");
  return `${key}\n${certificate}\n`;
}

async function selfSigned(
  keys: webcrypto.CryptoKeyPair,
  name: string,
  options: { readonly seconds: number; readonly now: Date },
): Promise<string> {
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name,
    notBefore: new Date(options.now.getTime() - BACKDATE_MS),
    notAfter: new Date(options.now.getTime() + options.seconds * 1_000),
    signingAlgorithm: ECDSA,
    keys,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
    ],
  });
  return certificate.toString("pem");
}

async function parseAuthority(text: string, file: string, now: Date): Promise<Authority> {
  try {
    const key = createPrivateKey(text);
    const [certificate, ...earlier] = certificateBlocks(text).map((pem) => new X509Certificate(pem));
    if (certificate === undefined) throw new Error("there is no certificate");
    for (const one of [certificate, ...earlier]) {
      if (!one.checkPrivateKey(key) || !one.ca) throw new Error("the key is another one");
    }
    const valid = earlier.filter(({ validTo }) => new Date(validTo) > now).slice(0, MAX_CERTIFICATES - 1);
    return await createAuthority(key, certificate, valid);
  } catch (cause) {
    throw new ConnectError("CC_FILE_UNREADABLE", `stateDir: ${file} is not an authority's key and certificate`, {
      cause,
    });
  }
}

async function createAuthority(
  key: KeyObject,
  certificate: X509Certificate,
  earlier: readonly X509Certificate[],
): Promise<Authority> {
  const pkcs8 = key.export({ format: "der", type: "pkcs8" });
  const signingKey = await webcrypto.subtle.importKey("pkcs8", pkcs8, ECDSA, false, ["sign"]);
  const notAfter = new Date(certificate.validTo);
  const subject = certificate.subject.replaceAll("\n", ",");
  const trustPem = [certificate, ...earlier].map((one) => one.toString()).join("");
  return {
    certPem: certificate.toString(),
    trustPem,
    notAfter,
    fingerprint: certificate.fingerprint256,
    async issue(hosts, { seconds, now }) {
      const keys = await webcrypto.subtle.generateKey(ECDSA, true, ["sign", "verify"]);
      const end = new Date(Math.min(now.getTime() + seconds * 1_000, notAfter.getTime()));
      const begin = new Date(now.getTime() - BACKDATE_MS);
      const leaf = await X509CertificateGenerator.create({
        serialNumber: serialNumber(),
        subject: [{ CN: [hosts[0] ?? ""] }],
        issuer: subject,
        notBefore: begin,
        notAfter: end,
        signingAlgorithm: ECDSA,
        publicKey: keys.publicKey,
        signingKey,
        extensions: [
          new BasicConstraintsExtension(false, undefined, true),
          new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
          new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
          new SubjectAlternativeNameExtension(
            hosts.map((value) => ({ type: isIP(value) === 0 ? "dns" : "ip", value })),
          ),
        ],
      });
      const keyPem = PemConverter.encode(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey), "PRIVATE KEY");
      const certPem = leaf.toString("pem");
      // The issuer's name was written anew: a certificate that does not chain would lock every client out.
      if (!new X509Certificate(certPem).checkIssued(certificate)) throw new Error("the issuer's name does not match");
      return { certPem, keyPem, notBefore: begin, notAfter: end };
    },
    async renew(options) {
      const spki = createPublicKey(key).export({ format: "der", type: "spki" });
      const publicKey = await webcrypto.subtle.importKey("spki", spki, ECDSA, true, ["verify"]);
      const renewed = await selfSigned({ privateKey: signingKey, publicKey }, subject, options);
      if (!certificate.checkIssued(new X509Certificate(renewed))) throw new Error("the authority's name changed");
      return `${key.export({ format: "pem", type: "pkcs8" })}${renewed}\n${trustPem}`;
    },
  };
}

/** 127 random bits, as a positive number in hex. */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes.writeUInt8(bytes.readUInt8(0) & 0x7f, 0);
  return bytes.toString("hex");
}
