import "reflect-metadata";
import { webcrypto } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseClusterId } from "@cluster-connect/protocol";
import { BasicConstraintsExtension, X509CertificateGenerator } from "@peculiar/x509";
import { afterEach, beforeEach, expect, test } from "vitest";
import { parseAuthorities } from "../../src/clusters/authorities.ts";
import { openKnownClusters } from "../../src/clusters/known-clusters.ts";
import { type Trust, trustCluster } from "../../src/clusters/trust.ts";

const RELAY = "https://relay.example";
const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const { signal } = new AbortController();
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "trust-"));
});
afterEach(() => rm(folder, { recursive: true }));

const newKeys = (): Promise<webcrypto.CryptoKeyPair> =>
  webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);

/** A certificate of these keys, signed by others where they are given. */
async function authority(keys: webcrypto.CryptoKeyPair, signer = keys): Promise<string> {
  const certificate = await X509CertificateGenerator.create(
    {
      ...{ subject: "CN=cluster", issuer: "CN=cluster", notAfter: new Date(Date.now() + 3_600_000) },
      ...{ publicKey: keys.publicKey, signingKey: signer.privateKey, signingAlgorithm: ALGORITHM },
      extensions: [new BasicConstraintsExtension(true)],
    },
    webcrypto,
  );
  return `${certificate.toString("pem")}\n`;
}

function announce(certificateAuthorities: string, now = 0): Promise<Trust> {
  const id = parseClusterId("prod");
  const state = { status: "connected", since: null, lastSeenAt: null, lastSeenSeconds: null, reason: null } as const;
  const cluster = { id, ...state, agents: [], certificateAuthorities, serverName: "prod.example" };
  const known = openKnownClusters({ config: folder, state: folder });
  return trustCluster(RELAY, cluster, known, { signal, now });
}

test("a certificate that the accepted key has renewed is trusted without a word, also once it is the only one", async () => {
  const keys = await newKeys();
  const [first, second] = [await authority(keys), await authority(keys)];
  expect(await announce(first)).toMatchObject({ isNew: true });
  const renewed = await announce(second + first, 86_400_000);
  expect(renewed).toMatchObject({ isNew: false, announced: [] });
  expect(renewed.authorities.pem).toBe(parseAuthorities(second + first, "test").pem);
  expect(await announce(second)).toMatchObject({ isNew: false, announced: [] });
});

test("another key is only announced, and alone it is refused", async () => {
  const [mine, other] = [await newKeys(), await newKeys()];
  const first = await authority(mine);
  const foreign = await authority(other);
  await announce(first);
  const both = await announce(foreign + first);
  expect(both.authorities.pem).toBe(parseAuthorities(first, "test").pem);
  expect(both.announced).toHaveLength(1);
  await expect(announce(foreign)).rejects.toMatchObject({ code: "CC_CLUSTER_CA_CHANGED" });
});

test("a certificate with the accepted public key that somebody else has signed is not trusted", async () => {
  const [mine, other] = [await newKeys(), await newKeys()];
  const first = await authority(mine);
  const forged = await authority(mine, other);
  await announce(first);
  expect((await announce(forged + first)).authorities.pem).toBe(parseAuthorities(first, "test").pem);
  await expect(announce(forged)).rejects.toMatchObject({ code: "CC_CLUSTER_CA_CHANGED" });
});
