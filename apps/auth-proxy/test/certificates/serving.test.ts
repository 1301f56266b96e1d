import { X509Certificate } from "node:crypto";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { AUTHORITY_FILE, loadAuthority } from "../../src/certificates/authority.ts";
import { createFixture } from "../support/fixture.ts";
import { openStream, type RawTarget } from "../support/raw-client.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "authority-"));
});
afterEach(() => rm(folder, { recursive: true }));

const options = { clusterId: "demo", seconds: 3_600, now: new Date() };

test("the authority is made once, kept in one file that only we can read, and loaded from there", async () => {
  const made = await loadAuthority(folder, options);
  const loaded = await loadAuthority(folder, options);
  expect(loaded.certPem).toBe(made.certPem);
  expect(loaded.fingerprint).toMatch(/^(?:[0-9A-F]{2}:){31}[0-9A-F]{2}$/);
  expect((await stat(join(folder, AUTHORITY_FILE))).mode & 0o777).toBe(0o600);
  const certificate = new X509Certificate(made.certPem);
  expect(certificate.ca).toBe(true);
  expect(certificate.publicKey.asymmetricKeyDetails).toEqual({ namedCurve: "prime256v1" });
});

test("a certificate chains to the authority, is for its hosts, and does not outlive it", async () => {
  const authority = await loadAuthority(folder, options);
  const issued = await authority.issue(["demo.example", "127.0.0.1", "::1"], { seconds: 1e9, now: new Date() });
  const certificate = new X509Certificate(issued.certPem);
  expect(certificate.checkIssued(new X509Certificate(authority.certPem))).toBe(true);
  expect(certificate.verify(new X509Certificate(authority.certPem).publicKey)).toBe(true);
  expect(certificate.checkHost("demo.example")).toBe("demo.example");
  expect(certificate.checkIP("127.0.0.1")).toBe("127.0.0.1");
  expect(new Date(certificate.validTo).getTime()).toBeLessThanOrEqual(authority.notAfter.getTime());
});

test.each(["", "nonsense", "half"])(
  "an authority file that is broken is an error and is not replaced (%s)",
  async (kind) => {
    const made = await loadAuthority(folder, options);
    const file = join(folder, AUTHORITY_FILE);
    await writeFile(file, kind === "half" ? made.certPem : kind);
    await expect(loadAuthority(folder, options)).rejects.toMatchObject({ code: "CC_FILE_UNREADABLE" });
    expect(await readFile(file, "utf8")).toBe(kind === "half" ? made.certPem : kind);
  },
);

test("an authority whose key is another one is refused", async () => {
  const one = await loadAuthority(join(folder, "one"), options);
  await loadAuthority(join(folder, "two"), options);
  const file = join(folder, "two", AUTHORITY_FILE);
  const text = await readFile(file, "utf8");
  await writeFile(file, text.slice(0, text.indexOf("-----BEGIN CERTIFICATE-----")) + one.certPem);
  await expect(loadAuthority(join(folder, "two"), options)).rejects.toMatchObject({ code: "CC_FILE_UNREADABLE" });
});

async function certificateOf(target: RawTarget): Promise<X509Certificate | undefined> {
  const stream = await openStream(target);
  const certificate = stream.getPeerX509Certificate();
  stream.destroy();
  return certificate;
}

test("the serving certificate is renewed before it expires, without a restart and under the same authority", async () => {
  const certificate = { caSeconds: 3_600, servingSeconds: 3 };
  await using fixture = await createFixture({ config: { certificate } });
  const open = await openStream(fixture.target);
  const first = await certificateOf(fixture.target);
  await expect
    .poll(async () => (await certificateOf(fixture.target))?.serialNumber === first?.serialNumber, { timeout: 10_000 })
    .toBe(false);
  expect(new Date(first?.validTo ?? 0).getTime()).toBeGreaterThan(Date.now() - 1_000);
  expect(open.destroyed).toBe(false);
  open.destroy();
});

test("any name, the cluster's own and none are served with one certificate", async () => {
  await using fixture = await createFixture({ publishes: true });
  const serverNames = ["demo.clusters.cluster-connect.internal", "localhost"];
  for (const servername of serverNames) expect(await certificateOf({ ...fixture.target, servername })).toBeDefined();
  const { caPem } = fixture.app;
  expect(await readFile(join(fixture.folder, "published", "ca.crt"), "utf8")).toBe(caPem);
});
