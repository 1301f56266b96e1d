import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { setTimeout as delay } from "node:timers/promises";
import { generateAgentKey } from "@cluster-connect/auth";
import { startTestIssuer, type TestIssuer } from "@cluster-connect/auth/testing";
import { dialSession, type Session } from "@cluster-connect/framing";
import { dialWebSocket } from "@cluster-connect/framing/ws";
import { type ClusterId, parseClusterId, parseCorrelationId, parseInstanceId } from "@cluster-connect/protocol";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createAuthority } from "../../src/cluster/control-plane/certificates.ts";
import {
  type Attack,
  type Attacker,
  type HalfOpen,
  loopbackAddresses,
  startAttacker,
} from "../../src/faults/attacker.ts";
import { readMetrics } from "../../src/faults/metrics.ts";
import { startDaemon } from "../../src/process/daemon.ts";
import { freePort } from "../../src/process/free-port.ts";
import { type Keeper, type Program, startKeeper } from "../../src/process/keeper.ts";
import { pollUntil } from "../../src/process/poll.ts";
import { writeAuthentication } from "../../src/stack/authentication.ts";
import { RELAY_AUDIENCE } from "../../src/stack/issuer.ts";
import { repositoryFile } from "../../src/stack/repository-file.ts";
import { dialLightAgent, type LightAgent } from "../support/relays/light-agents.ts";
import { NO_END } from "../support/stack.ts";
import { sendHttps } from "../support/wire/https-client.ts";

/** A relay alone, with TLS: its sessions are real, what they carry is made up. */
const MAIN = repositoryFile("apps/relay/src/main.ts");
const CLUSTER: ClusterId = parseClusterId("load");
const KEY = generateAgentKey();
const MEBIBYTE = 1_048_576;
const STREAM = { cluster: CLUSTER, upstream: "kubernetes", correlationId: parseCorrelationId("0123456789abcdef") };
const LIMITS = { handshakes: 2_000, handshakesPerAddress: 1_000, agentsPerSecond: 400 };
/** Growth of the relay's memory that an attack may cause while it lasts. */
const ADDED_MIB = 256;
/** Between two streams of the caller: it stays below the rate of opens that one caller may have. */
const PAUSE_MS = 4;
/** During one attack, of the caller's channel. */
const MOST_REDIALS = 3;
const FORGOTTEN_MS = 30_000;

let keeper: Keeper;
let issuer: TestIssuer;
let relay: URL;
let ca: string;
let program: Program;
let config: Readonly<Record<string, unknown>>;
let folder: string;
let caller: Session;
let runs = 0;
let attacks = 0;

async function startRelay(): Promise<void> {
  runs += 1;
  const spec = { name: "relay", main: MAIN, folder, config, readyEvent: "relay.listening", logName: `relay-${runs}` };
  ({ program } = await startDaemon(spec, { signal: NO_END }, { keeper }));
}

const token = (sub = "root"): Promise<string> =>
  issuer.sign({ aud: RELAY_AUDIENCE, sub, preferred_username: sub, groups: ["viewers"] });

async function dialCaller(sub?: string): Promise<Session> {
  const channel = await dialWebSocket(new URL("/v1/connect", relay), {
    signal: AbortSignal.timeout(60_000),
    headers: { authorization: `Bearer ${await token(sub)}` },
    tls: { ca },
  });
  const session = dialSession(channel, { role: "cli", instanceId: newId(), software: "load" });
  await session.ready;
  return session;
}

const newId = () => parseInstanceId(randomBytes(12).toString("base64url"));
const agentOptions = (signal: AbortSignal = NO_END) => ({ relay, ca, clusterId: CLUSTER, key: KEY, signal });

beforeAll(async () => {
  keeper = await startKeeper();
  folder = await mkdtemp(join(tmpdir(), "cc-load-"));
  keeper.ownFolder(folder);
  issuer = await startTestIssuer();
  const port = await freePort();
  relay = new URL(`https://127.0.0.1:${port}`);
  const authority = await createAuthority("load", { now: () => new Date() });
  const leaf = await authority.issue({ commonName: "relay", hosts: ["127.0.0.1"] });
  ca = authority.certPem;
  const tls = { certFile: join(folder, "tls.crt"), keyFile: join(folder, "tls.key") };
  await writeFile(join(folder, "ca.crt"), ca);
  await writeFile(tls.certFile, leaf.certPem);
  await writeFile(tls.keyFile, leaf.keyPem, { mode: 0o600 });
  const authenticationConfig = join(folder, "authentication.json");
  await writeAuthentication(authenticationConfig, { issuerUrl: issuer.url, audience: RELAY_AUDIENCE });
  config = {
    listen: { host: "127.0.0.1", port },
    publicUrl: relay.origin,
    tls,
    dataDir: join(folder, "data"),
    authenticationConfig,
    allowInsecureLoopbackIssuer: true,
    probe: { intervalSeconds: 600 },
    grants: [{ clusters: ["*"], issuer: issuer.url, condition: "true" }],
    admins: [{ issuer: issuer.url, condition: "claims.sub == 'root'" }],
    limits: { opensPerSecondPerCaller: 500, ...LIMITS },
  };
  await startRelay();
  for (const [path, body] of [
    ["/v1/admin/clusters", { id: CLUSTER }],
    ["/v1/admin/keys", { cluster: CLUSTER, publicKey: KEY.publicKey }],
  ] as const) {
    const headers = ["Authorization", `Bearer ${await token()}`, "Content-Type", "application/json"];
    const request = { path, method: "POST", headers, body: JSON.stringify(body) };
    expect((await sendHttps({ url: relay.origin, ca }, request)).status).toBe(200);
  }
  await dialLightAgent(agentOptions());
  caller = await dialCaller();
  await pollUntil(async () => ((await measure(1)).failed === 0 ? true : undefined), {
    signal: AbortSignal.timeout(60_000),
  });
  await measure(300);
});

afterAll(async () => {
  caller?.close();
  await issuer?.stop();
  await keeper?.stop();
});

interface Latency {
  readonly p50: number;
  readonly p99: number;
  readonly failed: number;
  /** Channels that had to be dialed again. */
  readonly redials: number;
}

/** Opens a stream, sends a byte and waits for it to come back: so many times, and on until `more` says no. */
async function measure(count: number, more: () => boolean = () => false): Promise<Latency> {
  const times: number[] = [];
  let failed = 0;
  let redials = 0;
  for (let n = 0; n < count || more(); n += 1) {
    const startedAt = performance.now();
    try {
      const stream = caller.open(STREAM);
      stream.end("x");
      for await (const _ of stream);
      times.push(performance.now() - startedAt);
    } catch {
      // A CLI takes a channel for dead that is silent for two seconds, and dials again. A busy machine has such moments.
      if (caller.state !== "closed") failed += 1;
      else {
        redials += 1;
        caller = await dialCaller();
      }
    }
    await delay(PAUSE_MS);
  }
  const sorted = times.toSorted((a, b) => a - b);
  const at = (q: number): number => Math.round((sorted[Math.floor((sorted.length - 1) * q)] ?? Number.NaN) * 10) / 10;
  return { p50: at(0.5), p99: at(0.99), failed, redials };
}

interface Usage {
  readonly rssMiB: number;
  readonly cpuSeconds: number;
  readonly silentSockets: number;
  readonly handshakes: number;
  readonly tunnels: number;
}

async function usage(): Promise<Usage> {
  const metrics = await readMetrics(new URL("/metrics", relay).href, ca);
  const read = (name: string): number => metrics.get(name) ?? Number.NaN;
  return {
    rssMiB: Math.round(read("process_resident_memory_bytes") / MEBIBYTE),
    cpuSeconds: Math.round(read("process_cpu_seconds_total") * 10) / 10,
    // The one that asks is none of those it asks for.
    silentSockets: read("silent_sockets"),
    handshakes: read("handshakes"),
    tunnels: read("tunnels"),
  };
}

function show(what: string, figures: Readonly<Record<string, unknown>>): void {
  process.stdout.write(`figures: ${what} ${JSON.stringify(figures)}\n`);
}

const ratio = (after: number, before: number): number => Math.round((after / before) * 10) / 10;

/**
 * Lets an attacker and a caller run side by side: the caller's streams go on, and a new caller gets in.
 *
 * @returns how the relay is while the attack is at its height.
 */
async function beside(what: string, attack: Attack): Promise<Usage> {
  attacks += 1;
  const before = await measure(200);
  const rssBefore = (await usage()).rssMiB;
  const options = {
    folder: join(folder, `attack-${attacks}`),
    relay: relay.href,
    caFile: join(folder, "ca.crt"),
    attack,
  };
  const attacker: Attacker = await startAttacker(options, { keeper });
  try {
    let going = true;
    const done = attacker.done.finally(() => {
      going = false;
    });
    const during = await measure(100, () => going);
    const { event: _event, ...came } = await done;
    const height = await usage();
    const startedAt = performance.now();
    const newcomer = await dialCaller("newcomer");
    const newcomerMs = Math.round(performance.now() - startedAt);
    newcomer.close();
    const after = await measure(200);
    const p50 = [ratio(during.p50, before.p50), ratio(after.p50, before.p50)];
    const p99 = [ratio(during.p99, before.p99), ratio(after.p99, before.p99)];
    show(what, { ...came, before, during, after, ratios: { p50, p99 }, newcomerMs, rssBefore, height });
    expect(during.failed + after.failed).toBe(0);
    expect(during.redials + after.redials).toBeLessThanOrEqual(MOST_REDIALS);
    expect(height.rssMiB - rssBefore).toBeLessThan(ADDED_MIB);
    return height;
  } finally {
    await attacker.stop();
  }
}

/** Waits until the relay counts nothing half-open any more. */
async function forgotten(): Promise<void> {
  await pollUntil(
    async () => {
      const { silentSockets, handshakes } = await usage();
      return silentSockets <= 1 && handshakes === 0 ? true : undefined;
    },
    { signal: AbortSignal.timeout(FORGOTTEN_MS), intervalMs: 250 },
  );
}

describe("beside a hostile dialer other callers go on, with", () => {
  const LEVELS: readonly (readonly [what: string, kind: HalfOpen])[] = [
    ["TCP without a word", "silent"],
    ["half a ClientHello", "half-hello"],
    ["half a request after TLS", "half-request"],
    ["a channel without HELLO", "upgraded"],
  ];

  test.each(LEVELS)("1,000 handshakes from ten addresses that stop at %s", async (what, kind) => {
    const height = await beside(`1,000 times ${what}`, { kind, count: 1_000, addresses: loopbackAddresses(10) });
    const counted = kind === "upgraded" ? height.handshakes : height.silentSockets;
    expect(counted).toBeGreaterThanOrEqual(1_000);
    expect(counted).toBeLessThan(1_010);
    await forgotten();
  });

  test.each(LEVELS)(
    "1,500 handshakes from one address, of which 1,000 may stand, that stop at %s",
    async (what, kind) => {
      const [address = ""] = loopbackAddresses(1);
      const height = await beside(`1,500 times ${what}, one address`, { kind, count: 1_500, addresses: [address] });
      expect(height.silentSockets).toBeLessThanOrEqual(LIMITS.handshakesPerAddress + 1);
      expect(height.handshakes).toBeLessThanOrEqual(LIMITS.handshakesPerAddress);
      await forgotten();
    },
  );

  test("4,000 sockets without a word from five addresses, of which 2,000 may stand", async () => {
    const attack: Attack = { kind: "silent", count: 4_000, addresses: loopbackAddresses(5) };
    const height = await beside("4,000 silent sockets", attack);
    expect(height.silentSockets).toBeLessThanOrEqual(LIMITS.handshakes);
  });

  test("handshakes that nobody goes on with: the relay ends each by itself", async () => {
    const addresses = loopbackAddresses(4);
    const start = async (kind: HalfOpen): Promise<Attacker> => {
      attacks += 1;
      const attack: Attack = { kind, count: 50, addresses };
      const where = { folder: join(folder, `attack-${attacks}`), relay: relay.href, caFile: join(folder, "ca.crt") };
      return await startAttacker({ ...where, attack }, { keeper });
    };
    const attackers = await Promise.all(LEVELS.map(([, kind]) => start(kind)));
    const came = await Promise.all(attackers.map(({ done }) => done));
    expect(came).toMatchObject(LEVELS.map(() => ({ standing: 50 })));
    await forgotten();
    await Promise.all(attackers.map((attacker) => attacker.stop()));
  });

  test("a stream of 100,000 frames of one byte", async () => {
    const attack = { count: 100_000, token: await token("byte-writer"), cluster: CLUSTER };
    await beside("frames of one byte", { kind: "small-frames", ...attack });
  });

  test("50,000 streams that are opened and reset at once", async () => {
    const attack = { count: 50_000, token: await token("resetter"), cluster: CLUSTER };
    await beside("reset flood", { kind: "resets", ...attack });
  });

  test("5,000,000 pings of a dialer that reads no answer", async () => {
    await beside("ping flood", { kind: "pings", count: 5_000_000, token: await token("pinger") });
  });

  test("1,000 requests with endless headers", async () => {
    await beside("header flood", { kind: "headers", count: 1_000, lines: 1_500, bytes: 100 });
  });
});

test("2,000 agents come back after an outage, paced", async () => {
  const count = 2_000;
  program.signal("SIGKILL");
  await program.ended;
  await startRelay();
  const before = await usage();
  const startedAt = performance.now();
  let returned = false;
  const paced = (async () => {
    let fastest = 0;
    while (!returned) {
      const { tunnels } = await usage();
      const seconds = (performance.now() - startedAt) / 1_000;
      fastest = Math.max(fastest, tunnels - (2 + seconds) * (LIMITS.agentsPerSecond / 2));
    }
    return fastest;
  })();
  const agents = [...(await dialMany(count))];
  returned = true;
  const seconds = Math.round((performance.now() - startedAt) / 100) / 10;
  const refusals = agents.reduce((sum, agent) => sum + agent.refusals, 0);
  await allStand(agents);
  const after = await usage();
  show("2,000 agents return", { seconds, refusals, before, after });
  expect(refusals).toBeGreaterThan(0);
  // All come from one address, which gets half of the rate and a burst of two seconds of that.
  expect(await paced).toBeLessThanOrEqual(0);
  for (const { session } of agents) session.close();
});

/** Both ends of each tunnel are on this machine, each with its own limit. */
const MAX_OPEN_FILES = Number(/^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1] ?? 0);

test.skipIf(MAX_OPEN_FILES < 10_500)("10,000 idle tunnels fit", async () => {
  const count = 10_000;
  const limits = { agentsPerSecond: 20_000, handshakes: 20_000, handshakesPerAddress: 20_000 };
  config = { ...config, limits };
  program.signal("SIGKILL");
  await program.ended;
  await startRelay();
  const before = await usage();
  const startedAt = performance.now();
  const agents: LightAgent[] = [];
  for (let n = 0; n < count; n += 500) agents.push(...(await dialMany(500)));
  const seconds = Math.round((performance.now() - startedAt) / 100) / 10;
  await allStand(agents);
  const after = await usage();
  const kibibytesEach = Math.round(((after.rssMiB - before.rssMiB) * 1_024) / count);
  show("10,000 idle tunnels", { before, after, seconds, kibibytesEach });
  expect(kibibytesEach).toBeLessThan(250);
  for (const { session } of agents) session.close();
});

/**
 * Waits for a tunnel of each agent. The relay counts one a moment after its agent has the answer; one that a busy machine
 * lost is dialed again.
 */
async function allStand(agents: LightAgent[]): Promise<void> {
  const tunnels = async (): Promise<number> => {
    for (const [index, { session, refusals }] of agents.entries()) {
      if (session.state !== "closed") continue;
      const again = await dialLightAgent(agentOptions());
      agents[index] = { session: again.session, refusals: refusals + again.refusals };
    }
    return (await usage()).tunnels;
  };
  await expect.poll(tunnels, { timeout: 120_000 }).toBe(agents.length);
}

async function dialMany(count: number): Promise<readonly LightAgent[]> {
  return await Promise.all(Array.from({ length: count }, () => dialLightAgent(agentOptions())));
}
