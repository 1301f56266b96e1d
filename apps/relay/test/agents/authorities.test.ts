import { webcrypto } from "node:crypto";
import "reflect-metadata";
import { BasicConstraintsExtension, X509CertificateGenerator } from "@peculiar/x509";
import { expect, test } from "vitest";
import { acceptedWith, isRenewalOf, newFingerprints, parseAuthorities } from "../../src/agents/authorities.ts";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };

const newKeys = (): Promise<webcrypto.CryptoKeyPair> =>
  webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);

/** A CA certificate for `keys`, signed by `signer`, which is the same unless another party makes it up. */
async function authority(
  keys: webcrypto.CryptoKeyPair,
  name: string,
  signer: webcrypto.CryptoKeyPair = keys,
): Promise<string> {
  const certificate = await X509CertificateGenerator.create({
    subject: `CN=${name}`,
    issuer: `CN=${name}`,
    publicKey: keys.publicKey,
    signingKey: signer.privateKey,
    signingAlgorithm: ALGORITHM,
    extensions: [new BasicConstraintsExtension(true, undefined, true)],
  });
  return `${certificate.toString("pem")}\n`;
}

test("authorities follow from accepted ones that have the same key, and only when that key signed them", async () => {
  const [own, other] = [await newKeys(), await newKeys()];
  const accepted = await authority(own, "first");
  expect(isRenewalOf(accepted, await authority(own, "renewed"))).toBe(true);
  expect(isRenewalOf(accepted, await authority(other, "first"))).toBe(false);
  expect(isRenewalOf(accepted, await authority(own, "first", other))).toBe(false);
  expect(isRenewalOf(accepted, (await authority(own, "renewed")) + (await authority(other, "other")))).toBe(false);
});

test("authorities that are all accepted already follow from them, whoever signed them", async () => {
  const [own, other] = [await newKeys(), await newKeys()];
  const [first, signedElsewhere] = [await authority(own, "first"), await authority(own, "crossed", other)];
  expect(isRenewalOf(first + signedElsewhere, signedElsewhere)).toBe(true);
  expect(isRenewalOf(first, signedElsewhere)).toBe(false);
});

test("a fingerprint accepts its own certificate, and none that an agent puts beside it", async () => {
  const make = async (name: string): Promise<string> => parseAuthorities(await authority(await newKeys(), name)).pem;
  const [accepted, next, beside] = [await make("accepted"), await make("next"), await make("beside")];
  const [of, at] = [(pem: string) => parseAuthorities(pem).fingerprint, next + accepted + beside];
  expect(newFingerprints(accepted, at)).toEqual([of(next), of(beside)]);
  expect(newFingerprints(null, at)).toEqual([of(next), of(accepted), of(beside)]);
  expect(newFingerprints(at, at)).toEqual([]);
  expect(acceptedWith(accepted, at, of(next))).toBe(next + accepted);
  expect(acceptedWith(null, at, of(next))).toBe(next);
});

test("an agent announces eight authorities at most", async () => {
  const one = await authority(await newKeys(), "one");
  expect(parseAuthorities(one.repeat(8)).fingerprint).not.toBe("");
  expect(() => parseAuthorities(one.repeat(9))).toThrow(/not 1 to 8 certificates/);
});

test("an announcement has 12,288 characters at most", async () => {
  const one = await authority(await newKeys(), "one");
  expect(parseAuthorities(one.padEnd(12_288, "\n")).fingerprint).not.toBe("");
  expect(() => parseAuthorities(one.padEnd(12_289, "\n"))).toThrow(/longer than 12288 characters/);
});
