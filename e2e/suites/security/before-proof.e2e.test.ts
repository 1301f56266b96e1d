import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { encodeProxyHeader } from "@cluster-connect/protocol";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Attack, type Attacker, startAttacker } from "../../src/faults/attacker.ts";
import { freePort } from "../../src/process/free-port.ts";
import type { LogEvent } from "../../src/process/log-events.ts";
import { pollUntil } from "../../src/process/poll.ts";
import { CLUSTER_AUDIENCE } from "../../src/stack/issuer.ts";
import { highestResidentBytes, residentBytes } from "../support/resident-memory.ts";
import { type Person, useStack } from "../support/stack.ts";
import { sendHttps } from "../support/wire/https-client.ts";
import { curlInsecure } from "../support/wire/local-request.ts";
import { workMs } from "../support/work-time.ts";

/** Floods by a dialer without any credential, beside callers that go on. */
const MEBIBYTE = 1_048_576;
/**
 * Between a caller's question and its answer, what the flooded process itself has worked for all its peers: on a machine
 * with nothing else to do that is how long the caller waits. Time that other processes take is not in it.
 */
const WORK_MS = 250;
/** Of young objects, which the relay's own options of Node keep so small: a few mebibytes, and 128 without them. */
const YOUNG_BYTES = 16 * MEBIBYTE;
/** Sockets of the relay that prove nothing are gone within 10 s; without that bound within two minutes. */
const GONE_MS = 60_000;
/** As many sockets without a request as one address may have, by the relay's own settings. */
const SOCKETS_PER_ADDRESS = 1_000;
const CALLS = 100;
const CALL_EVERY_MS = 20;
const GIVEN_BACK_MS = 120_000;

const healthPort = await freePort();
const suite = useStack(async () => ({ agent: { healthPort } }));
let viewer: Person;
let token: string;
let watch: Watch;
let attacks = 0;

interface Watch {
  readonly socket: TLSSocket;
  readonly text: () => string;
}

beforeAll(async () => {
  viewer = await suite().signIn("viewer");
  const now = Math.floor(Date.now() / 1_000);
  token = await suite().stack.issuer.sign({
    iss: suite().stack.issuer.url,
    aud: CLUSTER_AUDIENCE,
    sub: "viewer",
    preferred_username: "viewer",
    groups: ["viewers"],
    iat: now - 60,
    exp: now + 3_600,
  });
  watch = await holdWatch();
});

afterAll(() => {
  watch?.socket.destroy();
});

/** A watch by the tunnel, as `kubectl get namespaces -w` holds one. */
async function holdWatch(): Promise<Watch> {
  const socket = connectTls({ host: "127.0.0.1", port: viewer.proxy.port, rejectUnauthorized: false });
  await once(socket, "secureConnect");
  let text = "";
  socket.on("data", (chunk: Buffer) => {
    text += chunk.toString("latin1");
  });
  socket.on("error", () => undefined);
  socket.write(requestText("/api/v1/namespaces?watch=true"));
  await pollUntil(async () => (text.includes('"ADDED"') ? true : undefined), { signal: AbortSignal.timeout(60_000) });
  return { socket, text: () => text };
}

const requestText = (path: string, more: readonly string[] = [], bearer = token): string =>
  `${[`GET ${path} HTTP/1.1`, "Host: cluster", `Authorization: Bearer ${bearer}`, ...more].join("\r\n")}\r\n\r\n`;

/** Whether the watch that was there before the flood still says what happens. */
async function expectWatchGoesOn(): Promise<void> {
  const name = `flood-${randomBytes(4).toString("hex")}`;
  await suite().stack.kubectlAsAdmin(["create", "namespace", name]);
  await expect.poll(() => watch.text()).toContain(name);
}

interface Latency {
  /** Milliseconds that passed, and those that the process worked; the 99th percentile of each. */
  readonly p99: number;
  readonly p99Work: number;
  /** Milliseconds that the process worked during the one call for which it worked longest. */
  readonly longestWork: number;
  /** Calls without a good answer. */
  readonly bad: number;
}

const p99Of = (times: readonly number[]): number => Math.round(times.toSorted((a, b) => a - b)[CALLS - 2] ?? 0);

/** Asks a process again and again. */
async function latency(pid: number, ask: () => Promise<number>): Promise<Latency> {
  const times: number[] = [];
  const works: number[] = [];
  let bad = 0;
  for (let call = 0; call < CALLS; call += 1) {
    const from = performance.now();
    const workFrom = await workMs(pid);
    const status = await ask().catch(() => 0);
    if (status !== 200) bad += 1;
    times.push(performance.now() - from);
    works.push((await workMs(pid)) - workFrom);
    await delay(CALL_EVERY_MS);
  }
  return { p99: p99Of(times), p99Work: p99Of(works), longestWork: Math.round(Math.max(...works)), bad };
}

interface Flooded extends Latency {
  readonly done: LogEvent;
  /** Bytes by which the process grew at the most, and by which it stayed larger. */
  readonly grown: number;
}

/** Runs a flood against one port while another caller asks that one. */
async function flood(
  attack: Attack,
  port: { readonly url: string; readonly pid: number },
  ask: () => Promise<number>,
  whileHeld: () => Promise<void> = async () => undefined,
): Promise<Flooded> {
  attacks += 1;
  const { keeper, folder, stack } = suite();
  await latency(port.pid, ask);
  const before = await residentBytes(port.pid);
  const looking = new AbortController();
  const highest = highestResidentBytes(port.pid, { signal: looking.signal });
  const attacker: Attacker = await startAttacker(
    {
      folder: join(folder, `attack-${attacks}`),
      relay: port.url,
      caFile: stack.relay.caFile ?? "",
      attack,
    },
    { keeper },
  );
  try {
    const beside = await latency(port.pid, ask);
    const done = await attacker.done;
    await whileHeld();
    const grown = (await stopLooking(looking, highest)) - before;
    process.stdout.write(
      `figures: ${attack.kind} ${JSON.stringify({ ...done, ...beside, grownMiB: grown / MEBIBYTE })}\n`,
    );
    return { done, ...beside, grown };
  } finally {
    looking.abort();
    await attacker.stop();
  }
}

async function stopLooking(looking: AbortController, highest: Promise<number>): Promise<number> {
  looking.abort();
  return await highest;
}

async function givenBack(pid: number, below: number): Promise<void> {
  await expect.poll(() => residentBytes(pid), { timeout: GIVEN_BACK_MS, interval: 500 }).toBeLessThan(below);
}

const relayPort = () => ({ url: suite().stack.relay.url, pid: suite().stack.relay.program.pid });
const askRelay = async (): Promise<number> => {
  const { url, caFile } = suite().stack.relay;
  return (await sendHttps({ url, ca: await readFile(caFile ?? "", "utf8") }, { path: "/readyz" })).status;
};
/** The relay's own figure of its heap. */
async function youngBytes(): Promise<number> {
  const { url, caFile } = suite().stack.relay;
  const { body } = await sendHttps({ url, ca: await readFile(caFile ?? "", "utf8") }, { path: "/metrics" });
  const [, bytes] = /^nodejs_heap_space_size_total_bytes\{space="new".*\} (\d+)$/m.exec(body.toString()) ?? [];
  return Number(bytes);
}

/** Files of a process, sockets among them. */
const openFiles = async (pid: number): Promise<number> => (await readdir(`/proc/${pid}/fd`)).length;

const askHealth = (url: string) => async (): Promise<number> => (await fetch(url, { keepalive: false })).status;

test("64 sockets that are dialled again for thirty rounds leave the relay no larger", async () => {
  const before = await residentBytes(relayPort().pid);
  const attack: Attack = { kind: "redialled", count: 64, bytes: 65_536, path: "/v1/openapi.json", rounds: 30 };
  const flooded = await flood(attack, relayPort(), askRelay);
  expect(flooded.done).toMatchObject({ rounds: 30 });
  expect(flooded.bad).toBe(0);
  expect(await youngBytes()).toBeLessThan(YOUNG_BYTES);
  await expectWatchGoesOn();
  await givenBack(relayPort().pid, before + 64 * MEBIBYTE);
});

test.each(["/readyz", "/v1/openapi.json", "/.well-known/cluster-connect", "/v1/clusters"])(
  "24 sockets with 64 KiB of GETs for %s each, whose answers nobody reads, slow no other caller of the relay",
  async (path) => {
    const before = await residentBytes(relayPort().pid);
    const flooded = await flood({ kind: "pipelined", count: 24, bytes: 65_536, path }, relayPort(), askRelay);
    expect(flooded.bad).toBe(0);
    // All that the sockets have sent is read in one turn, so one call alone waits for it.
    expect(flooded.longestWork).toBeLessThan(WORK_MS);
    expect(flooded.grown).toBeLessThan(64 * MEBIBYTE);
    await expectWatchGoesOn();
    await givenBack(relayPort().pid, before + 64 * MEBIBYTE);
  },
);

test("400 MB of pings before HELLO make the relay no larger, and it ends them", async () => {
  const flooded = await flood({ kind: "pings-before-hello", bytes: 400_000_000 }, relayPort(), askRelay);
  expect(flooded.done).toMatchObject({ accepted: true, ended: true });
  expect(flooded.bad).toBe(0);
  expect(flooded.p99Work).toBeLessThan(WORK_MS);
  expect(flooded.grown).toBeLessThan(16 * MEBIBYTE);
  await expectWatchGoesOn();
});

const gone = async (): Promise<void> => {
  const { pid } = relayPort();
  await expect.poll(() => openFiles(pid), { timeout: GONE_MS }).toBeLessThan(openBefore + 100);
};
let openBefore = 0;
/** A socket that is closed while it is written to loses the answer at times. */
const expectHeadsRefused = (done: LogEvent): void =>
  expect(Number(done["closed"] ?? 0) + Number(done["431"] ?? 0)).toBe(200);

test.each<[what: string, attack: Attack, expectDone: (done: LogEvent) => void, whileHeld?: () => Promise<void>]>([
  [
    "heads of a byte at a time",
    { kind: "slow-heads", count: 200, seconds: 30 },
    (done) => expect(done["ended"]).toBe(200),
  ],
  // Node's own bound.
  ["heads with 1,500 lines", { kind: "headers", count: 200, lines: 1_500, bytes: 20 }, expectHeadsRefused],
  ["heads of 150 kB", { kind: "headers", count: 200, lines: 150, bytes: 1_000 }, expectHeadsRefused],
  [
    "half a ClientHello",
    { kind: "half-hello", count: 200, addresses: ["127.0.0.2", "127.0.0.3"] },
    (done) => expect(done).toMatchObject({ standing: 200 }),
    gone,
  ],
  [
    "sockets without a word",
    { kind: "silent", count: SOCKETS_PER_ADDRESS + 200, addresses: ["127.0.0.4"] },
    (done) => {
      expect(Number(done["standing"])).toBeLessThanOrEqual(SOCKETS_PER_ADDRESS);
      expect(Number(done["refused"])).toBeGreaterThanOrEqual(200);
    },
    gone,
  ],
])("%s slow no other caller of the relay", async (_what, attack, expectDone, whileHeld) => {
  openBefore = await openFiles(relayPort().pid);
  const flooded = await flood(attack, relayPort(), askRelay, whileHeld);
  expectDone(flooded.done);
  expect(flooded.bad).toBe(0);
  expect(flooded.p99Work).toBeLessThan(WORK_MS);
  expect(flooded.grown).toBeLessThan(64 * MEBIBYTE);
  await expectWatchGoesOn();
});

test.each(["agent", "auth proxy"])("a flood of its health port does not keep others from the %s's", async (which) => {
  const { agent, authProxy } = suite().stack;
  const url = which === "agent" ? `http://127.0.0.1:${healthPort}` : new URL(authProxy.healthUrl).origin;
  const pid = (which === "agent" ? agent.program : authProxy.program)?.pid ?? 0;
  for (const path of ["/readyz", "/metrics"]) {
    const attack: Attack = { kind: "pipelined", count: 24, bytes: 65_536, path };
    const flooded = await flood(attack, { url, pid }, askHealth(`${url}/healthz`));
    expect(flooded.bad).toBe(0);
    expect(flooded.longestWork).toBeLessThan(WORK_MS);
    expect(flooded.grown).toBeLessThan(64 * MEBIBYTE);
  }
  await expectWatchGoesOn();
});

/** A stream to the auth proxy as the agent makes one, of a caller that the relay names. */
async function dialAuthProxy(username: string): Promise<TLSSocket> {
  const { authProxy, clusterId } = suite().stack;
  const plain: Socket = connect(authProxy.socket);
  await once(plain, "connect");
  plain.write(encodeProxyHeader({ address: "192.0.2.7", correlationId: randomBytes(8).toString("hex"), username }));
  const servername = `${clusterId}.clusters.cluster-connect.internal`;
  const socket = connectTls({ socket: plain, servername, rejectUnauthorized: false });
  socket.on("error", () => undefined);
  await once(socket, "secureConnect");
  return socket;
}

const goodCall = async (): Promise<number> =>
  (await curlInsecure(viewer.proxy.port, "/api/v1/namespaces", token)).status;

test("1,200 tokens that somebody made up keep no good caller out", async () => {
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  let going = true;
  const attack = async (): Promise<void> => {
    for (let round = 0; round < 40; round += 1) {
      const socket = await dialAuthProxy("mallory");
      const jwt = [encode({ alg: "RS256", kid: String(round) }), encode({ iss: "https://nobody", n: round }), "AAAA"];
      const bearers = Array.from({ length: 30 }, (_, n) =>
        n % 2 === 0 ? jwt.join(".") : randomBytes(24).toString("hex"),
      );
      socket.resume().write(bearers.map((bearer) => requestText("/api/v1/namespaces", [], bearer)).join(""));
      await delay(20);
      socket.destroy();
    }
    going = false;
  };
  const attacking = attack();
  let good = 0;
  while (going || good === 0) {
    expect(await goodCall()).toBe(200);
    good += 1;
  }
  await attacking;
  expect(await goodCall()).toBe(200);
});

test.each([
  [
    "an upgrade",
    `GET /api/v1/namespaces?watch=true HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n`,
  ],
  ["a CONNECT", `CONNECT example.com:443 HTTP/1.1\r\nHost: a\r\n`],
])("%s behind requests that are not answered yet takes no place for good", async (_what, head) => {
  const count = 250;
  for (let turn = 0; turn < count; turn += 1) {
    const socket = await dialAuthProxy("viewer");
    socket
      .resume()
      .write(`${requestText("/api/v1/namespaces?watch=true")}${head}Authorization: Bearer ${token}\r\n\r\n`);
    await delay(10);
    socket.destroy();
  }
  await expect.poll(goodCall, { timeout: 60_000 }).toBe(200);
  // As many as one caller may have at once, so a single place that is gone shows.
  const statuses = await Promise.all(Array.from({ length: 100 }, goodCall));
  expect(statuses.filter((status) => status !== 200)).toEqual([]);
  await expectWatchGoesOn();
});
