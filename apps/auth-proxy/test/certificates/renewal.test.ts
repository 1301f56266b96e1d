import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, createServer, type SecureContext, type TLSSocket } from "node:tls";
import { createMemoryLogger } from "@cluster-connect/service/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import { AUTHORITY_FILE, readAuthority } from "../../src/certificates/authority.ts";
import { type AuthorityRenewalOptions, openAuthority, refreshAuthority } from "../../src/certificates/renewal.ts";
import { createServingCertificate } from "../../src/certificates/serving.ts";
import { type SteppedClock, steppedClock } from "../support/stepped-clock.ts";

const HOUR_MS = 3_600_000;
const LIFE_SECONDS = 24 * 3_600;
const HOST = "demo.clusters.example";

let folder: string;
let stop: AbortController;
let kept: Promise<void>[];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "renewal-"));
  stop = new AbortController();
  kept = [];
});
afterEach(async () => {
  stop.abort();
  await Promise.all(kept);
  await rm(folder, { recursive: true });
});

const options = (stateDir: string): AuthorityRenewalOptions => ({ stateDir, clusterId: "demo", seconds: LIFE_SECONDS });
const certificates = (pem: string): readonly X509Certificate[] =>
  (pem.match(/-----BEGIN[^-]+-----[^-]+-----END[^-]+-----/g) ?? []).map((text) => new X509Certificate(text));

interface Served {
  readonly clock: SteppedClock;
  readonly published: string[];
  readonly context: () => SecureContext;
}

async function serve(stateDir: string, clock: SteppedClock): Promise<Served> {
  const log = createMemoryLogger();
  const published: string[] = [];
  const publish = async (pem: string): Promise<void> => void published.push(pem);
  const authority = await openAuthority(options(stateDir), { clock, log, publish });
  const certificate = await createServingCertificate(
    authority.current,
    { hosts: [HOST], seconds: 3_600 },
    { clock, log },
  );
  kept.push(authority.keep(stop), certificate.keep(stop));
  return { clock, published, context: certificate.context };
}

/** The certificate that answers a caller who trusts these authorities. */
async function dial(
  context: SecureContext,
  ca: string,
): Promise<{ readonly authorized: boolean; readonly leaf: X509Certificate }> {
  const server = createServer({ SNICallback: (_name, done) => done(null, context) });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const socket: TLSSocket = connect({ port, host: "127.0.0.1", servername: HOST, ca, rejectUnauthorized: false });
  await once(socket, "secureConnect");
  const leaf = socket.getPeerX509Certificate();
  const { authorized } = socket;
  socket.destroy();
  server.close();
  if (leaf === undefined) throw new Error("no certificate came");
  return { authorized, leaf };
}

test("in ten lives of the authority there is never an hour without a valid certificate that earlier callers trust", async () => {
  const start = Date.now() - 9 * LIFE_SECONDS * 1_000;
  const { clock, published, context } = await serve(folder, steppedClock(start));
  const contexts = new Set<SecureContext>();
  for (let hour = 0; hour < 10 * 24; hour++) {
    for (let turn = 0; turn < 4; turn++) await clock.pass(HOUR_MS / 4);
    await expect
      .poll(async () => ((await readAuthority(folder, new Date(clock.now())))?.notAfter.getTime() ?? 0) - clock.now())
      .toBeGreaterThan(0);
    // The file is there a moment before it is published.
    await expect
      .poll(() => certificates(published.at(-1) ?? "")[0]?.validToDate.getTime() ?? 0)
      .toBeGreaterThan(clock.now());
    contexts.add(context());
  }
  expect(contexts.size).toBeGreaterThan(200);
  expect(published.length).toBeGreaterThan(10);
  const keys = published.flatMap(certificates).map((one) => one.publicKey.export({ format: "pem", type: "spki" }));
  expect(new Set(keys).size).toBe(1);
});

test("a caller that knows only the authority before the renewal trusts what is served after it", async () => {
  const clock = steppedClock(Date.now());
  const { published, context } = await serve(folder, clock);
  const before = published[0] ?? "";
  const first = context();
  await clock.pass(LIFE_SECONDS * 700);
  await expect.poll(() => published.length).toBe(2);
  await expect
    .poll(async () => {
      await clock.pass(1_000);
      return context() === first;
    })
    .toBe(false);
  expect(certificates(published[1] ?? "")).toHaveLength(2);
  const old = new X509Certificate(before);
  const { leaf } = await dial(context(), before);
  expect(leaf.verify(old.publicKey)).toBe(true);
  expect(leaf.checkIssued(old)).toBe(true);
});

test("what another process has renewed is taken over, published and served, without a restart", async () => {
  const clock = steppedClock(Date.now());
  const { published, context } = await serve(folder, clock);
  const first = context();
  const other = join(folder, "other");
  await mkdir(other);
  await copyFile(join(folder, AUTHORITY_FILE), join(other, AUTHORITY_FILE));
  const early = new Date(clock.now() + (LIFE_SECONDS * 1_000) / 2 + 1_000);
  const { done, authority } = await refreshAuthority(options(other), early);
  expect(done).toBe("renewed");
  await copyFile(join(other, AUTHORITY_FILE), join(folder, AUTHORITY_FILE));
  await expect
    .poll(async () => {
      await clock.pass(5_000);
      return published.at(-1);
    })
    .toBe(authority.trustPem);
  await expect
    .poll(async () => {
      await clock.pass(1_000);
      return context() === first;
    })
    .toBe(false);
  expect((await dial(context(), published[0] ?? "")).authorized).toBe(true);
  expect((await dial(context(), authority.certPem)).leaf.checkIssued(new X509Certificate(authority.certPem))).toBe(
    true,
  );
});

test("where the folder cannot be written, what is put there by somebody else is still taken over at once", async () => {
  const clock = steppedClock(Date.now());
  const { published } = await serve(folder, clock);
  const file = join(folder, AUTHORITY_FILE);
  const mine = await readFile(file, "utf8");
  // Root writes everywhere; a folder in the file's place stops it, too.
  await rm(file);
  await mkdir(join(file, "in-the-way"), { recursive: true });
  await clock.pass(LIFE_SECONDS * 700);
  await clock.pass(10_000);
  expect(published).toHaveLength(1);
  await rm(file, { recursive: true });
  const other = join(folder, "other");
  await mkdir(other);
  await writeFile(join(other, AUTHORITY_FILE), mine);
  const { authority } = await refreshAuthority(options(other), new Date(clock.now()));
  await copyFile(join(other, AUTHORITY_FILE), file);
  await expect
    .poll(async () => {
      await clock.pass(5_000);
      return published.at(-1);
    })
    .toBe(authority.trustPem);
});

test("the authority is made once, kept while it is young, and not renewed once it has expired", async () => {
  const now = new Date();
  expect((await refreshAuthority(options(folder), now)).done).toBe("made");
  expect((await refreshAuthority(options(folder), now)).done).toBe("kept");
  const late = new Date(now.getTime() + LIFE_SECONDS * 1_000 + 1);
  await expect(refreshAuthority(options(folder), late)).rejects.toMatchObject({ code: "CC_FILE_UNREADABLE" });
});
