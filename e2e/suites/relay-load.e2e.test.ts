import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { generateAgentKey } from "@cluster-connect/auth";
import { startTestIssuer, type TestIssuer } from "@cluster-connect/auth/testing";
import { dialSession, type MessageChannel, type Session } from "@cluster-connect/framing";
import { dialWebSocket } from "@cluster-connect/framing/ws";
import {
  type ClusterId,
  encodeHeader,
  encodeHello,
  encodeU64,
  type FrameType,
  HEADER_BYTES,
  OWN_VERSIONS,
  parseClusterId,
  parseCorrelationId,
  parseInstanceId,
} from "@cluster-connect/protocol";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { readMetrics } from "../src/faults/metrics.ts";
import { startDaemon } from "../src/process/daemon.ts";
import { freePort } from "../src/process/free-port.ts";
import { type Keeper, type Program, startKeeper } from "../src/process/keeper.ts";
import { pollUntil } from "../src/process/poll.ts";
import { writeAuthentication } from "../src/stack/authentication.ts";
import { RELAY_AUDIENCE } from "../src/stack/issuer.ts";
import { repositoryFile } from "../src/stack/repository-file.ts";
import { dialLightAgent, type LightAgent } from "./support/light-agents.ts";
import { NO_END } from "./support/stack.ts";

/** A relay alone, without TLS: its sessions are real, what they carry is made up. */
const MAIN = repositoryFile("apps/relay/src/main.ts");
const CLUSTER: ClusterId = parseClusterId("load");
const KEY = generateAgentKey();
const MEBIBYTE = 1_048_576;
const STREAM = { cluster: CLUSTER, upstream: "kubernetes", correlationId: parseCorrelationId("0123456789abcdef") };

let keeper: Keeper;
let issuer: TestIssuer;
let relay: URL;
let program: Program;
let config: Readonly<Record<string, unknown>>;
let folder: string;
let caller: Session;
let runs = 0;

async function startRelay(): Promise<void> {
  runs += 1;
  const spec = { name: "relay", main: MAIN, folder, config, readyEvent: "relay.listening", logName: `relay-${runs}` };
  ({ program } = await startDaemon(spec, { signal: NO_END }, { keeper }));
}

const token = (sub = "root"): Promise<string> =>
  issuer.sign({ aud: RELAY_AUDIENCE, sub, preferred_username: sub, groups: ["viewers"] });

async function dialCaller(sub?: string): Promise<Session> {
  const channel = await dialWebSocket(new URL("/v1/connect", relay), {
    signal: AbortSignal.timeout(20_000),
    headers: { authorization: `Bearer ${await token(sub)}` },
  });
  const session = dialSession(channel, { role: "cli", instanceId: newId(), software: "load" });
  await session.ready;
  return session;
}

const newId = () => parseInstanceId(randomBytes(12).toString("base64url"));
const agentOptions = (signal: AbortSignal = NO_END) => ({ relay, clusterId: CLUSTER, key: KEY, signal });

beforeAll(async () => {
  keeper = await startKeeper();
  folder = await mkdtemp(join(tmpdir(), "cc-load-"));
  keeper.ownFolder(folder);
  issuer = await startTestIssuer();
  const port = await freePort();
  relay = new URL(`http://127.0.0.1:${port}`);
  const authenticationConfig = join(folder, "authentication.json");
  await writeAuthentication(authenticationConfig, { issuerUrl: issuer.url, audience: RELAY_AUDIENCE });
  config = {
    ...{ listen: { host: "127.0.0.1", port }, publicUrl: relay.origin, dataDir: join(folder, "data") },
    ...{ authenticationConfig, allowInsecureLoopbackIssuer: true, probe: { intervalSeconds: 600 } },
    grants: [{ clusters: ["*"], issuer: issuer.url, condition: "true" }],
    admins: [{ issuer: issuer.url, condition: "claims.sub == 'root'" }],
    // Every agent here comes from one address, which gets half of the rate.
    limits: { opensPerSecondPerCaller: 500, handshakesPerAddress: 2_000, agentsPerSecond: 400 },
  };
  await startRelay();
  for (const [path, body] of [
    ["/v1/admin/clusters", { id: CLUSTER }],
    ["/v1/admin/keys", { cluster: CLUSTER, publicKey: KEY.publicKey }],
  ] as const) {
    const headers = { authorization: `Bearer ${await token()}`, "content-type": "application/json" };
    const response = await fetch(new URL(path, relay), { method: "POST", headers, body: JSON.stringify(body) });
    expect(response.status).toBe(200);
  }
  await dialLightAgent(agentOptions());
  caller = await dialCaller();
  await pollUntil(async () => ((await measure(1)).failed === 0 ? true : undefined), {
    signal: AbortSignal.timeout(20_000),
  });
});

afterAll(async () => {
  caller?.close();
  await issuer?.stop();
  await keeper?.stop();
});

/** Opens a stream, sends a byte and waits for it to come back, so many times. */
async function measure(
  count: number,
): Promise<{ readonly p50: number; readonly p99: number; readonly failed: number }> {
  const times: number[] = [];
  let failed = 0;
  for (let n = 0; n < count; n += 1) {
    const startedAt = performance.now();
    try {
      const stream = caller.open(STREAM);
      stream.end("x");
      for await (const _ of stream);
      times.push(performance.now() - startedAt);
    } catch {
      failed += 1;
    }
  }
  const sorted = times.toSorted((a, b) => a - b);
  const at = (q: number): number => Math.round((sorted[Math.floor((sorted.length - 1) * q)] ?? Number.NaN) * 10) / 10;
  return { p50: at(0.5), p99: at(0.99), failed };
}

async function usage(): Promise<{ readonly rssMiB: number; readonly cpuSeconds: number }> {
  const metrics = await readMetrics(new URL("/metrics", relay).href);
  const cpuSeconds = Math.round((metrics.get("process_cpu_seconds_total") ?? Number.NaN) * 10) / 10;
  return { rssMiB: Math.round((metrics.get("process_resident_memory_bytes") ?? Number.NaN) / MEBIBYTE), cpuSeconds };
}

function show(what: string, figures: Readonly<Record<string, unknown>>): void {
  process.stdout.write(`figures: ${what} ${JSON.stringify(figures)}\n`);
}

/** Runs an attack, and a caller beside it. */
async function beside(what: string, attack: () => Promise<Readonly<Record<string, unknown>>>): Promise<void> {
  const before = { ...(await usage()), ...(await measure(100)) };
  const running = attack();
  const during = await measure(100);
  const figures = await running;
  const after = { ...(await usage()), ...(await measure(100)) };
  show(what, { before, during, after, ...figures });
  expect(during.failed).toBe(0);
  expect(after.failed).toBe(0);
  expect(after.rssMiB - before.rssMiB).toBeLessThan(256);
}

function frame(type: FrameType, payload: Uint8Array): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES + payload.length);
  encodeHeader(bytes, 0, { type, streamId: 0, length: payload.length });
  bytes.set(payload, HEADER_BYTES);
  return bytes;
}

describe("beside a hostile dialer other callers go on, with", () => {
  test("1,000 channels whose handshake stays half open", async () => {
    await beside("half-open handshakes", async () => {
      const dialed = await Promise.allSettled(
        Array.from({ length: 1_000 }, () =>
          dialWebSocket(new URL("/v1/agent", relay), { signal: AbortSignal.timeout(60_000) }),
        ),
      );
      const open = dialed.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
      const figures = { open: open.length, refused: 1_000 - open.length, rssWhileOpen: (await usage()).rssMiB };
      for (const channel of open) channel.close(1000, "");
      return figures;
    });
  });

  test("a stream of 20,000 frames of one byte", async () => {
    await beside("frames of one byte", async () => {
      const session = await dialCaller("byte-writer");
      const stream = session.open(STREAM);
      let back = 0;
      const reading = (async () => {
        for await (const chunk of stream) back += Buffer.isBuffer(chunk) ? chunk.length : 0;
      })();
      for (let n = 0; n < 20_000; n += 1) {
        if (!stream.write("x") || n % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      stream.end();
      await reading;
      session.close();
      return { bytesBack: back };
    });
  });

  test("10,000 streams that are opened and reset at once", async () => {
    await beside("reset flood", async () => {
      const session = await dialCaller("resetter");
      let refused = 0;
      for (let n = 0; n < 10_000; n += 1) {
        try {
          const stream = session.open(STREAM);
          stream.on("error", () => undefined);
          stream.reset("CC_CANCELLED", "never mind");
        } catch {
          refused += 1;
        }
        if (n % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      session.close();
      return { refusedHere: refused };
    });
  });

  test("200,000 pings of a dialer that reads no answer", async () => {
    await beside("ping flood", async () => {
      const channel: MessageChannel = await dialWebSocket(new URL("/v1/connect", relay), {
        signal: AbortSignal.timeout(20_000),
        headers: { authorization: `Bearer ${await token("pinger")}` },
      });
      let ended = false;
      channel.listen({
        message: () => undefined,
        drain: () => undefined,
        close: () => {
          ended = true;
        },
      });
      const limits = { maxStreams: 1, maxWindowBytes: 262_144, hopAckEveryBytes: 131_072 };
      const hello = encodeHello({
        versions: OWN_VERSIONS,
        role: "cli",
        instanceId: newId(),
        software: "flood",
        limits,
      });
      channel.append([frame("HELLO", hello)]);
      channel.flush();
      let sent = 0;
      for (; sent < 200_000 && !ended; sent += 1) {
        channel.append([frame("PING", encodeU64(sent))]);
        channel.flush();
        if (sent % 500 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      channel.close(1000, "");
      return { sent, ended };
    });
  });

  test("requests with endless headers", async () => {
    await beside("header flood", async () => {
      const answers = await Promise.all(
        Array.from({ length: 200 }, async () => {
          const headers = Object.fromEntries(Array.from({ length: 1_500 }, (_, n) => [`x-${n}`, "y".repeat(100)]));
          const response = await fetch(new URL("/v1/clusters", relay), { headers }).catch(() => undefined);
          return response?.status ?? 0;
        }),
      );
      return {
        answers: Object.fromEntries([...new Set(answers)].map((s) => [s, answers.filter((a) => a === s).length])),
      };
    });
  });
});

test("2,000 agents come back after an outage, paced", async () => {
  const count = 2_000;
  program.signal("SIGKILL");
  await program.ended;
  await startRelay();
  const startedAt = performance.now();
  const agents = await dialMany(count);
  const seconds = Math.round((performance.now() - startedAt) / 100) / 10;
  const refusals = agents.reduce((sum, agent) => sum + agent.refusals, 0);
  show("2,000 agents return", { seconds, refusals, ...(await usage()) });
  expect(refusals).toBeGreaterThan(0);
  for (const { session } of agents) session.close();
});

/** Both ends of each tunnel are on this machine, each with its own limit. */
const MAX_OPEN_FILES = Number(/^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1] ?? 0);

test.skipIf(MAX_OPEN_FILES < 10_500)("10,000 idle tunnels fit", async () => {
  const count = 10_000;
  config = { ...config, limits: { agentsPerSecond: 10_000, handshakes: 20_000, handshakesPerAddress: 20_000 } };
  program.signal("SIGKILL");
  await program.ended;
  await startRelay();
  const before = await usage();
  const startedAt = performance.now();
  const agents: LightAgent[] = [];
  for (let n = 0; n < count; n += 500) agents.push(...(await dialMany(500)));
  const seconds = Math.round((performance.now() - startedAt) / 100) / 10;
  const after = await usage();
  const kibibytesEach = Math.round(((after.rssMiB - before.rssMiB) * 1_024) / count);
  show("10,000 idle tunnels", { before, after, seconds, kibibytesEach });
  const metrics = await readMetrics(new URL("/metrics", relay).href);
  expect(metrics.get("tunnels")).toBe(count);
  expect(z.number().parse(kibibytesEach)).toBeLessThan(200);
  for (const { session } of agents) session.close();
});

async function dialMany(count: number): Promise<readonly LightAgent[]> {
  return await Promise.all(Array.from({ length: count }, () => dialLightAgent(agentOptions())));
}
