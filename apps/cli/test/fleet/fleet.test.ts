import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseClusterId } from "@cluster-connect/protocol";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { parseAuthorities } from "../../src/cluster/authorities.ts";
import { signAuthorities } from "../../src/commands/cluster/sign.ts";
import { parseFleetKey } from "../../src/fleet/fleet-key.ts";
import { formatRevocations, parseRevocations, requireNewer } from "../../src/fleet/revocations.ts";
import { createAuthority } from "../support/certificates.ts";
import { type TestCli, testCli } from "../support/cli.ts";
import { startRelay, type TestCluster } from "../support/relay.ts";
import { unsignedToken } from "../support/tokens.ts";

interface Stage {
  readonly home: string;
  readonly cluster: TestCluster;
  readonly file: string;
  readonly fleetKey: string;
  readonly list: string;
  /** A job on a fresh machine, without a person to ask. */
  job(): Promise<TestCli>;
  cli(): TestCli;
}

async function stage(): Promise<Stage> {
  const home = await temporaryFolder();
  const relay = await startRelay();
  const cluster = await relay.addCluster("prod");
  const env = {
    CLUSTER_CONNECT_RELAY: relay.url,
    CLUSTER_CONNECT_TOKEN: unsignedToken({ aud: "cluster" }),
    CLUSTER_CONNECT_RELAY_TOKEN: unsignedToken({ aud: "relay" }),
  };
  const file = join(home, "fleet-key.pem");
  const cli = (): TestCli => testCli(home, { env });
  const maker = cli();
  expect(await maker.run("fleet-key", "create", "-f", file)).toBe(0);
  return {
    home,
    cluster,
    file,
    cli,
    fleetKey: maker.out().trim(),
    list: join(home, "revoked.json"),
    job: async () => testCli(await temporaryFolder(), { env: { ...env, CI: "true" } }),
  };
}

test("a fleet key is made once, its private half is private, and no key is written over", async () => {
  const { file, fleetKey, cli } = await stage();
  expect(fleetKey).toMatch(/^ccfleet-[\w-]{43}$/);
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect(createPrivateKey(await readFile(file)).asymmetricKeyType).toBe("ed25519");
  const again = cli();
  expect(await again.run("fleet-key", "create", "-f", file)).toBe(2);
  expect(again.err()).toContain("is there already");
});

test("a signed cluster is trusted by a job that has the fleet key, and no other cluster is", async () => {
  const { cluster, file, fleetKey, job, cli } = await stage();
  // Signed as it is trusted here, where a person has compared it.
  await cli().run("run", "-n", "prod", "--", "true");
  const without = await job();
  expect(await without.run("run", "-n", "prod", "--fleet-key", fleetKey, "--", "true")).toBe(45);
  expect(without.err()).toContain("(CC_CLUSTER_UNTRUSTED)");
  cluster.signatures = await signAuthorities(
    file,
    parseClusterId("prod"),
    parseAuthorities(cluster.authority.pem, "it"),
  );
  const withKey = await job();
  expect(await withKey.run("run", "-n", "prod", "--fleet-key", fleetKey, "--", "true")).toBe(0);
  expect(withKey.err()).toContain("the fleet key has signed its authority");
  cluster.announced = (await createAuthority()).pem;
  const changed = await job();
  expect(await changed.run("run", "-n", "prod", "--fleet-key", fleetKey, "--", "true")).toBe(45);
});

test("what is only known from the relay is not signed", async () => {
  const { file, cli } = await stage();
  const signer = cli();
  expect(await signer.run("clusters", "sign", "-n", "prod", "--fleet-key-file", file)).toBe(45);
  expect(signer.err()).toContain("prod is not trusted here (CC_CLUSTER_UNTRUSTED)");
  expect(await signer.run("clusters", "sign", "-n", "prod", "--signature", "\u001b[2J")).toBe(2);
});

test("a list takes an authority back, and an older list is refused from then on", async () => {
  const { home, cluster, file, fleetKey, list, cli } = await stage();
  const run = (): Promise<number> => {
    return cli().run("run", "-n", "prod", "--fleet-key", fleetKey, "--fleet-revocations", list, "--", "true");
  };
  const ca = join(home, "prod-ca.pem");
  await writeFile(ca, (await createAuthority()).pem);
  const revoke = ["fleet-key", "revoke", "-n", "prod", "--fleet-key-file", file, "--list", list];
  expect(await cli().run(...revoke, "--authority", ca)).toBe(0);
  expect(await run()).toBe(0);
  const old = await readFile(list, "utf8");
  await writeFile(ca, cluster.authority.pem);
  expect(await cli().run(...revoke, "--authority", ca)).toBe(0);
  expect(await run()).toBe(45);
  const newest = await readFile(list, "utf8");
  await writeFile(list, old);
  const late = cli();
  expect(await late.run("run", "-n", "prod", "--fleet-key", fleetKey, "--fleet-revocations", list, "--", "true")).toBe(
    47,
  );
  expect(late.err()).toContain("is older than the last one that was seen: number 1 after 2 (CC_REVOCATIONS_REFUSED)");
  expect(late.err()).toContain("hint: Get the newest list from whoever holds the fleet key.");
  await writeFile(list, newest.replace('"serial": 2', '"serial": 3'));
  const forged = cli();
  expect(
    await forged.run("run", "-n", "prod", "--fleet-key", fleetKey, "--fleet-revocations", list, "--", "true"),
  ).toBe(47);
  expect(forged.err()).toContain("is not signed by the fleet key: it was changed");
});

test("two lists with one number, a list of another key and what is no list are refused", () => {
  const [one, other] = [generateKeyPairSync("ed25519"), generateKeyPairSync("ed25519")];
  const key = parseFleetKey(one.publicKey.export({ format: "pem", type: "spki" }).toString(), "it");
  const text = formatRevocations({ serial: 2, issuedAt: "2026-01-01T00:00:00Z", revoked: [] }, one.privateKey);
  const list = parseRevocations(text, "the list", key);
  const refused = expect.objectContaining({ code: "CC_REVOCATIONS_REFUSED" });
  const seen = (serial: number, revoked: readonly { cluster: string; authorityKey: string }[] = []) => {
    return { key: key.text, serial, revoked };
  };
  requireNewer(list, undefined, "the list");
  requireNewer(list, seen(1), "the list");
  requireNewer(list, seen(2), "the list");
  expect(() => requireNewer(list, seen(3), "the list")).toThrow(refused);
  expect(() => requireNewer(list, seen(2, [{ cluster: "prod", authorityKey: "AA" }]), "the list")).toThrow(refused);
  const foreign = formatRevocations({ serial: 2, issuedAt: "", revoked: [] }, other.privateKey);
  for (const wrong of [foreign, "", "{}", text.replace('"revoked": []', '"revoked": 7')]) {
    expect(() => parseRevocations(wrong, "the list", key)).toThrow(refused);
  }
});

test.for([
  ["rsa", "it is a key of another kind (rsa), not Ed25519"],
  ["ec", "it is a key of another kind (ec), not Ed25519"],
  ["x25519", "it is a key of another kind (x25519), not Ed25519"],
  ["private", "it is the private half, which belongs nowhere but in its file"],
  ["short", "it does not begin with ccfleet- and has no 43 characters behind it"],
] as const)("a fleet key that is %s is refused with what it is instead", async ([kind, what]) => {
  const { home, cli } = await stage();
  const spki = { format: "pem", type: "spki" } as const;
  const keys = {
    rsa: () => generateKeyPairSync("rsa", { modulusLength: 2_048 }).publicKey.export(spki).toString(),
    ec: () => generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey.export(spki).toString(),
    x25519: () => generateKeyPairSync("x25519").publicKey.export(spki).toString(),
    private: () => generateKeyPairSync("ed25519").privateKey.export({ format: "pem", type: "pkcs8" }).toString(),
    short: () => "ccfleet-abc",
  };
  const path = join(home, "wrong-key");
  await writeFile(path, keys[kind]());
  const wrong = cli();
  expect(await wrong.run("run", "-n", "prod", "--fleet-key", path, "--", "true")).toBe(46);
  expect(wrong.err()).toContain(`${path} is no fleet key: ${what} (CC_FLEET_KEY_INVALID)`);
  expect(wrong.err()).toContain("hint: Give the line that `cluster-connect fleet-key create` printed.");
});

/** A machine of an administrator who has compared the authority, and knows the fleet key. */
async function administrator(): Promise<{
  readonly scene: Stage;
  sign(...flags: readonly string[]): Promise<{ readonly code: number; readonly err: string }>;
}> {
  const scene = await stage();
  const { cluster, fleetKey } = scene;
  const trust = scene.cli();
  const [fingerprint = ""] = parseAuthorities(cluster.authority.pem, "it").fingerprints;
  expect(await trust.run("clusters", "trust", "-n", "prod", "--fingerprint", fingerprint)).toBe(0);
  const { deps } = scene.cli();
  return {
    scene,
    sign: async (...flags) => {
      const list = { CLUSTER_CONNECT_FLEET_REVOCATIONS: scene.list };
      const hasList = await stat(scene.list).catch(() => undefined);
      const more = { CLUSTER_CONNECT_FLEET_KEY: fleetKey, ...(hasList === undefined ? {} : list) };
      const one = testCli(deps.homeDir, { env: { ...deps.env, ...more } });
      const code = await one.run("clusters", "sign", "-n", "prod", ...flags);
      return { code, err: one.err() };
    },
  };
}

test("what the fleet key has not signed for this very authority is not given to the relay", async () => {
  const { scene, sign } = await administrator();
  const { file, home, cluster } = scene;
  const other = join(home, "other.pem");
  expect(await scene.cli().run("fleet-key", "create", "-f", other)).toBe(0);
  const mine = parseAuthorities(cluster.authority.pem, "it");
  const made = await signAuthorities(file, parseClusterId("prod"), mine);
  expect(await sign("--signature", made)).toMatchObject({ code: 0 });
  expect(await sign("--fleet-key-file", file)).toMatchObject({ code: 0 });
  const foreign = [
    ["--fleet-key-file", other],
    ["--signature", await signAuthorities(other, parseClusterId("prod"), mine)],
    // Another cluster's authority, and this one's under another name.
    ["--signature", await signAuthorities(file, parseClusterId("staging"), mine)],
    [
      "--signature",
      await signAuthorities(file, parseClusterId("prod"), parseAuthorities((await createAuthority()).pem, "it")),
    ],
  ];
  for (const flags of foreign) {
    const { code, err } = await sign(...flags);
    expect([code, err]).toEqual([
      46,
      expect.stringContaining("has not signed the authority of prod (CC_FLEET_KEY_INVALID)"),
    ]);
  }
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2_048 }).privateKey;
  await writeFile(other, rsa.export({ format: "pem", type: "pkcs8" }));
  expect(await sign("--fleet-key-file", other)).toMatchObject({ code: 46, err: expect.stringContaining("(rsa)") });
});

test("an authority that was taken back is not signed again, nor beside an older list", async () => {
  const { scene, sign } = await administrator();
  const { file, list, home } = scene;
  const ca = join(home, "other-ca.pem");
  await writeFile(ca, (await createAuthority()).pem);
  const revoke = ["fleet-key", "revoke", "-n", "prod", "--fleet-key-file", file, "--list", list];
  expect(await scene.cli().run(...revoke, "--authority", ca)).toBe(0);
  const old = await readFile(list, "utf8");
  expect(await sign("--fleet-key-file", file)).toMatchObject({ code: 0 });
  expect(await scene.cli().run(...revoke)).toBe(0);
  expect(await sign("--fleet-key-file", file)).toMatchObject({
    code: 45,
    err: expect.stringContaining("The fleet key has taken the authority of prod back (CC_CLUSTER_UNTRUSTED)"),
  });
  await writeFile(list, old);
  expect(await sign("--fleet-key-file", file)).toMatchObject({
    code: 47,
    err: expect.stringContaining("is older than the last one that was seen: number 1 after 2"),
  });
});
