import "reflect-metadata";
import { generateKeyPairSync, webcrypto } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseClusterId } from "@cluster-connect/protocol";
import { BasicConstraintsExtension, X509CertificateGenerator } from "@peculiar/x509";
import { afterEach, beforeEach, expect, test } from "vitest";
import { parseAuthorities } from "../../src/cluster/authorities.ts";
import { openKnownClusters } from "../../src/cluster/known-clusters.ts";
import { type Trust, trustCluster } from "../../src/cluster/trust.ts";
import type { TrustSources } from "../../src/cluster/trust-sources.ts";
import { signAuthority } from "../../src/fleet/authority-signature.ts";
import { createFleetKey, parseFleetKey } from "../../src/fleet/fleet-key.ts";
import type { Cluster } from "../../src/relay/api.ts";

const RELAY = "https://relay.example";
const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const PROD = parseClusterId("prod");
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
      subject: "CN=cluster",
      issuer: "CN=cluster",
      notAfter: new Date(Date.now() + 3_600_000),
      publicKey: keys.publicKey,
      signingKey: signer.privateKey,
      signingAlgorithm: ALGORITHM,
      extensions: [new BasicConstraintsExtension(true)],
    },
    webcrypto,
  );
  return `${certificate.toString("pem")}\n`;
}

const newAuthority = async (): Promise<string> => authority(await newKeys());
const fingerprintOf = (pem: string): string => parseAuthorities(pem, "test").fingerprints[0] ?? "";
const keyOf = (pem: string): string => parseAuthorities(pem, "test").keys[0] ?? "";

type Given = Partial<Omit<TrustSources, "known">>;

/** The trust in an authority that the relay announces. */
function announce(certificateAuthorities: string, given: Given = {}, cluster: Partial<Cluster> = {}): Promise<Trust> {
  const state = { status: "connected", since: null, lastSeenAt: null, lastSeenSeconds: null, reason: null } as const;
  const announced = {
    id: PROD,
    ...state,
    agents: [],
    certificateAuthorities,
    authoritySignatures: null,
    pendingFingerprint: null,
    pendingUid: null,
    serverName: "prod.example",
    ...cluster,
  };
  const known = openKnownClusters({ config: folder, state: folder });
  const sources = { known, fingerprints: new Map(), fileFor: () => undefined, fleet: undefined, ask: undefined };
  return trustCluster(RELAY, announced, { ...sources, ...given }, { signal, now: 0 });
}

const says =
  (answer: string): TrustSources["ask"] =>
  async () =>
    answer;
const AGREED: Given = { ask: says("yes") };
const UNTRUSTED = { code: "CC_CLUSTER_UNTRUSTED" };
const CHANGED = { code: "CC_CLUSTER_CA_CHANGED" };

test("where nobody can be asked a cluster that was never seen is refused, with how to get its fingerprint", async () => {
  const first = await newAuthority();
  await expect(announce(first)).rejects.toMatchObject({
    ...UNTRUSTED,
    hint: expect.stringMatching(
      /--cluster-fingerprint prod=SHA256 .*`cluster-connect connect` prints it.*kubeconfig add/,
    ),
  });
  expect(await announce(first, AGREED)).toMatchObject({ by: "person" });
  expect(await announce(first)).toMatchObject({ by: "before", announced: [] });
});

test("a person is shown every fingerprint, and nothing but a plain yes or the fingerprint goes on", async () => {
  const first = await newAuthority();
  for (const answer of ["", "y", "no", "yes please", fingerprintOf(await newAuthority())]) {
    await expect(announce(first, { ask: says(answer) })).rejects.toMatchObject(UNTRUSTED);
  }
  const second = await newAuthority();
  let shown = "";
  const ask: TrustSources["ask"] = async (question) => {
    shown = question;
    return "no";
  };
  await expect(announce(first + second, { ask })).rejects.toMatchObject(UNTRUSTED);
  expect(shown).toContain(fingerprintOf(first));
  expect(shown).toContain(fingerprintOf(second));
  // One of two fingerprints is not both.
  await expect(announce(first + second, { ask: says(fingerprintOf(first)) })).rejects.toMatchObject(UNTRUSTED);
  const typed = fingerprintOf(first).toLowerCase().replaceAll(":", "");
  expect(await announce(first, { ask: says(typed) })).toMatchObject({ by: "person" });
});

test("a fingerprint that was given trusts its own certificate, and none that the relay puts beside it", async () => {
  const [mine, foreign] = [await newAuthority(), await newAuthority()];
  const fingerprints = new Map([[PROD, [fingerprintOf(mine)]]]);
  await expect(announce(foreign, { fingerprints })).rejects.toMatchObject(CHANGED);
  const trust = await announce(foreign + mine, { fingerprints });
  expect(trust).toMatchObject({ by: "fingerprint", announced: [fingerprintOf(foreign)] });
  expect(trust.authorities.pem).toBe(parseAuthorities(mine, "test").pem);
});

test("a fingerprint that was given takes the place of another authority that was accepted before", async () => {
  const [wrong, right] = [await newAuthority(), await newAuthority()];
  await announce(wrong, AGREED);
  const fingerprints = new Map([[PROD, [fingerprintOf(right)]]]);
  await expect(announce(wrong, { fingerprints })).rejects.toMatchObject(CHANGED);
  expect(await announce(right, { fingerprints })).toMatchObject({ by: "fingerprint" });
  expect(await announce(right)).toMatchObject({ by: "before" });
});

test("a file with the authority trusts that one alone", async () => {
  const [mine, foreign] = [await newAuthority(), await newAuthority()];
  const fileFor = (): ReturnType<typeof parseAuthorities> => parseAuthorities(mine, "file");
  await expect(announce(foreign, { fileFor })).rejects.toMatchObject(CHANGED);
  const trust = await announce(foreign + mine, { fileFor });
  expect(trust).toMatchObject({ by: "file", announced: [fingerprintOf(foreign)] });
});

test("a fleet key's signature trusts a cluster and its new authority, for that cluster alone", async () => {
  const [first, second, unsigned] = [await newAuthority(), await newAuthority(), await newAuthority()];
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const pem = publicKey.export({ format: "pem", type: "spki" }).toString();
  const fleet = { key: parseFleetKey(pem, "test"), revoked: [] };
  const sign = (cluster: string, certificate: string): string =>
    signAuthority(privateKey, parseClusterId(cluster), keyOf(certificate));
  const signed = (text: string): Partial<Cluster> => ({ authoritySignatures: text });
  await expect(announce(first, { fleet })).rejects.toMatchObject(UNTRUSTED);
  await expect(announce(first, { fleet }, signed(sign("staging", first)))).rejects.toMatchObject(UNTRUSTED);
  await expect(announce(first, { fleet }, signed(sign("prod", second)))).rejects.toMatchObject(UNTRUSTED);
  const other = { key: parseFleetKey(createFleetKey().publicText, "test"), revoked: [] };
  await expect(announce(first, { fleet: other }, signed(sign("prod", first)))).rejects.toMatchObject(UNTRUSTED);
  expect(await announce(first, { fleet }, signed(sign("prod", first)))).toMatchObject({ by: "fleet" });
  // An unsigned change waits for a person; a signed one does not.
  await expect(announce(unsigned, { fleet, ...AGREED }, signed(sign("prod", first)))).rejects.toMatchObject(CHANGED);
  const changed = await announce(
    unsigned + second,
    { fleet },
    signed(`${sign("prod", first)} ${sign("prod", second)}`),
  );
  expect(changed).toMatchObject({ by: "fleet", announced: [fingerprintOf(unsigned)] });
});

test("an authority that the fleet key has taken back is refused, also where it was accepted", async () => {
  const first = await newAuthority();
  await announce(first, AGREED);
  const { publicText } = createFleetKey();
  const revoked = [{ cluster: "prod", authorityKey: keyOf(first) }];
  const fleet = { key: parseFleetKey(publicText, "test"), revoked };
  await expect(announce(first, { fleet, ...AGREED })).rejects.toMatchObject(UNTRUSTED);
  const elsewhere = { ...fleet, revoked: [{ cluster: "staging", authorityKey: keyOf(first) }] };
  expect(await announce(first, { fleet: elsewhere })).toMatchObject({ by: "before" });
});

test("an authority that was accepted for one cluster is refused for another, renewed or not", async () => {
  const keys = await newKeys();
  const [first, renewed] = [await authority(keys), await authority(keys)];
  await announce(first, AGREED);
  const staging = { id: parseClusterId("staging"), serverName: "staging.example" };
  await expect(announce(first, AGREED, staging)).rejects.toMatchObject(UNTRUSTED);
  await expect(announce(renewed, AGREED, staging)).rejects.toMatchObject(UNTRUSTED);
  const fingerprints = new Map([[staging.id, [fingerprintOf(first)]]]);
  await expect(announce(first, { fingerprints }, staging)).rejects.toMatchObject(UNTRUSTED);
  expect(await announce(await newAuthority(), AGREED, staging)).toMatchObject({ by: "person" });
});

test.for(["staging.example", "prod", "prod.", "prodx.example", "x.prod.example"])(
  "the server name %s is not the cluster's own",
  async (serverName) => {
    const refused = announce(await newAuthority(), AGREED, { serverName });
    await expect(refused).rejects.toMatchObject({ code: "CC_RELAY_REFUSED" });
  },
);

test("eight authorities at once are shown, and nine are refused", async () => {
  const eight = await Promise.all(Array.from({ length: 8 }, newAuthority));
  await expect(announce([...eight, await newAuthority()].join(""), AGREED)).rejects.toMatchObject({
    code: "CC_RELAY_REFUSED",
  });
  expect((await announce(eight.join(""), AGREED)).authorities.fingerprints).toHaveLength(8);
});

test("a certificate that the accepted key has renewed is trusted without a word, also once it is the only one", async () => {
  const keys = await newKeys();
  const [first, second] = [await authority(keys), await authority(keys)];
  const fingerprints = new Map([[PROD, [fingerprintOf(first)]]]);
  await announce(first, { fingerprints });
  const renewed = await announce(second + first, { fingerprints });
  expect(renewed).toMatchObject({ by: "before", announced: [] });
  expect(renewed.authorities.pem).toBe(parseAuthorities(second + first, "test").pem);
  expect(await announce(second, { fingerprints })).toMatchObject({ by: "before", announced: [] });
});

test("another key is only announced, and alone it is refused", async () => {
  const [first, foreign] = [await newAuthority(), await newAuthority()];
  await announce(first, AGREED);
  const both = await announce(foreign + first, AGREED);
  expect(both.authorities.pem).toBe(parseAuthorities(first, "test").pem);
  expect(both.announced).toHaveLength(1);
  await expect(announce(foreign, AGREED)).rejects.toMatchObject(CHANGED);
});

test("a certificate with the accepted public key that somebody else has signed is not trusted", async () => {
  const [mine, other] = [await newKeys(), await newKeys()];
  const first = await authority(mine);
  const forged = await authority(mine, other);
  await announce(first, AGREED);
  expect((await announce(forged + first)).authorities.pem).toBe(parseAuthorities(first, "test").pem);
  await expect(announce(forged, AGREED)).rejects.toMatchObject(CHANGED);
});
