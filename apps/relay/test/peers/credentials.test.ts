import { writeFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { type Clock, SYSTEM_CLOCK } from "@cluster-connect/base";
import { dialWebSocket } from "@cluster-connect/framing/ws";
import type { HealthReport } from "@cluster-connect/service";
import { selfSigned } from "@cluster-connect/testkit";
import { expect, test, vi } from "vitest";
import { readPeerCredentials } from "../../src/peers/tls.ts";
import {
  dialAgent,
  dialCli,
  enrollAgent,
  type Fixture,
  openRequest,
  opsToken,
  startFixture,
} from "../support/fixture.ts";
import { startFleet } from "../support/fleet.ts";

/** Chores come round at once. */
const BRISK: Clock = {
  ...SYSTEM_CLOCK,
  setTimer: (delayMs, fire) => SYSTEM_CLOCK.setTimer(Math.min(delayMs, 20), fire),
};

async function two(): Promise<readonly [Fixture, Fixture]> {
  const [a, b] = await startFleet(2, { clock: BRISK });
  if (a?.config.peers === undefined || b === undefined) throw new Error("two relays were asked for");
  return [a, b];
}

function filesOf({ config: { peers } }: Fixture): NonNullable<Fixture["config"]["peers"]> {
  if (peers === undefined) throw new Error("no peers");
  return peers;
}

/** Whether a channel to another relay comes about with these credentials. */
async function takes(fixture: Fixture, tls: { readonly cert: string; readonly key: string; readonly ca: string }) {
  const url = new URL(`https://${filesOf(fixture).address}/v1/peer`);
  const channel = await dialWebSocket(url, { signal: AbortSignal.timeout(10_000), tls }).catch(() => undefined);
  channel?.terminate();
  return channel !== undefined;
}

async function checkOf({ url }: Fixture): Promise<unknown> {
  const report: HealthReport = JSON.parse(await (await fetch(new URL("/readyz", url))).text());
  return report.checks.find(({ name }) => name === "peers");
}

test("relays take renewed certificates while a stream between them goes on", async () => {
  const [a, b] = await two();
  const agent = await enrollAgent(a);
  await (await dialAgent(b, agent)).ready;
  await vi.waitUntil(async () => (await a.store.db.selectFrom("tunnels").select("id").execute()).length === 1, {
    timeout: 30_000,
  });
  const cli = await dialCli(a, await opsToken(a));
  const before = cli.open(openRequest());
  before.write("before ");
  await before.accepted;

  const { certFile, keyFile, caFile } = filesOf(a);
  const former = await readPeerCredentials(filesOf(a));
  const next = await selfSigned();
  await writeFile(keyFile, next.key);
  await writeFile(certFile, next.cert);
  expect(certFile).toBe(caFile);
  await Promise.all([a.log.once("peers.reloaded"), b.log.once("peers.reloaded")]);

  expect(await takes(b, { ...next, ca: next.cert })).toBe(true);
  expect(await takes(b, former)).toBe(false);
  before.end("after");
  await expect(text(before)).resolves.toBe("before after");
  expect(a.log.lines.filter(({ event }) => event === "peer.closed")).toEqual([]);
  await expect(checkOf(a)).resolves.toMatchObject({
    ok: true,
    text: expect.stringMatching(/^certificate until 2\S+$/),
  });

  // A relay that comes now is dialed with the new one too.
  await b.stop();
  const c = await startFixture({ beside: a, clock: BRISK, config: { peers: filesOf(b) } });
  await (await dialAgent(c, agent)).ready;
  await vi.waitUntil(async () => (await a.store.db.selectFrom("tunnels").select("id").execute()).length === 1, {
    timeout: 30_000,
  });
  const after = cli.open(openRequest());
  after.end("hello");
  await expect(text(after)).resolves.toBe("hello");
});

test.each<[string, () => Promise<{ readonly cert: string; readonly key: string }>, RegExp]>([
  ["another key's", async () => ({ ...(await selfSigned()), key: (await selfSigned()).key }), /no pair in PEM/],
  ["for another host", () => selfSigned({ address: "127.0.0.9" }), /does not name 127\.0\.0\.1/],
  ["that has ended", () => selfSigned({ notAfter: new Date(Date.now() - 1_000) }), /not now/],
  ["cut off", async () => ({ cert: "-----BEGIN", key: "" }), /no pair in PEM/],
])("a certificate %s is not taken, and the former one goes on", async (_what, make, problem) => {
  const [a] = await two();
  const former = await readPeerCredentials(filesOf(a));
  const bad = await make();
  await writeFile(filesOf(a).keyFile, bad.key);
  await writeFile(filesOf(a).certFile, bad.cert);
  await vi.waitUntil(async () => problem.test(JSON.stringify(await checkOf(a))), { timeout: 30_000 });
  expect(await takes(a, former)).toBe(true);
  expect(a.log.lines.find(({ event }) => event === "peers.kept")).toBeDefined();
  await expect(checkOf(a)).resolves.toMatchObject({ ok: true });
});

test("an empty file of authorities is refused: it would stand for the public ones", async () => {
  const [a] = await two();
  const caFile = `${filesOf(a).caFile}.ca`;
  await writeFile(caFile, "");
  await expect(readPeerCredentials({ ...filesOf(a), caFile })).rejects.toMatchObject({
    code: "CC_CONFIG_INVALID",
    message: expect.stringContaining("peers.caFile"),
  });
});
