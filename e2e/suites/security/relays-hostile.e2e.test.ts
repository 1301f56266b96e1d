import { once } from "node:events";
import { type AddressInfo, createServer, type Server } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { connect as connectTls } from "node:tls";
import { SYSTEM_CLOCK } from "@cluster-connect/base";
import { createSecret, createStreamOpener, dialSession, type MuxStream, type Session } from "@cluster-connect/framing";
import { dialWebSocket } from "@cluster-connect/framing/ws";
import {
  type Caller,
  parseClusterId,
  parseCorrelationId,
  parseInstanceId,
  type Resume,
  toConnectError,
} from "@cluster-connect/protocol";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startDaemon } from "../../src/process/daemon.ts";
import { freePort } from "../../src/process/free-port.ts";
import { type Keeper, startKeeper } from "../../src/process/keeper.ts";
import { type Agent, startAgent } from "../../src/stack/agent.ts";
import { writeAuthentication } from "../../src/stack/authentication.ts";
import { RELAY_AUDIENCE } from "../../src/stack/issuer.ts";
import { repositoryFile } from "../../src/stack/repository-file.ts";
import { createDirectWorld, type DirectProxy, type DirectWorld } from "../support/direct-proxy.ts";
import { reader } from "../support/relays/conversation.ts";
import { type HostileRelay, sendResume, startHostileRelay } from "../support/relays/hostile-relay.ts";
import { NO_END } from "../support/stack.ts";

/** A real agent and auth proxy before a real kube-apiserver, with a relay that is not to be trusted. */
const CLUSTER = parseClusterId("direct");
const SERVER_NAME = "direct.clusters.cluster-connect.internal";
const ECHO = "echo";
const CORRELATION_ID = parseCorrelationId("0123456789abcdef");
const JANE: Caller = { issuer: "https://issuer.test", subject: "jane", username: "demo:jane" };
const KEY = createSecret();

let world: DirectWorld;
let keeper: Keeper;
let proxy: DirectProxy;
let hostile: HostileRelay;
let agent: Agent;
let echo: Server;
let session: Session;

beforeAll(async () => {
  world = await createDirectWorld();
  await world.setRole("legacy");
  keeper = await startKeeper();
  hostile = await startHostileRelay(CLUSTER);
  const socket = join(world.folder, "proxy.sock");
  const healthPort = await freePort();
  proxy = await world.start({ listen: { socket }, health: { host: "127.0.0.1", port: healthPort } });
  echo = createServer({ allowHalfOpen: true }, (near) => {
    near.on("error", () => undefined);
    near.pipe(near);
  }).listen(0, "127.0.0.1");
  await once(echo, "listening");
  agent = await startAgent(
    {
      folder: join(world.folder, "agent"),
      signal: NO_END,
      relay: { url: hostile.url, caFile: undefined },
      authProxy: { socket, healthUrl: `http://127.0.0.1:${healthPort}/readyz`, caFile: proxy.caFile },
      code: "cc1-hostile",
      upstreams: { [ECHO]: `127.0.0.1:${portOf(echo.address())}` },
    },
    { keeper },
  );
  session = await hostile.nextSession();
});

afterAll(async () => {
  await agent?.stop();
  await hostile?.stop();
  echo?.close();
  await keeper?.stop();
  await world?.[Symbol.asyncDispose]();
});

function portOf(address: AddressInfo | string | null): number {
  return address !== null && typeof address === "object" ? address.port : 0;
}

const request = (upstream: string, change: Partial<Parameters<Session["open"]>[0]> = {}) => ({
  cluster: CLUSTER,
  upstream,
  correlationId: CORRELATION_ID,
  caller: JANE,
  ...change,
});

/** One request to the auth proxy, in TLS over a stream. @returns status line and all that follows. */
async function ask(stream: MuxStream, token: string | undefined): Promise<string> {
  const tls = connectTls({ socket: stream, ca: proxy.target.ca ?? "", servername: SERVER_NAME });
  const body = JSON.stringify({ apiVersion: "authentication.k8s.io/v1", kind: "SelfSubjectReview" });
  const lines = [
    "POST /apis/authentication.k8s.io/v1/selfsubjectreviews HTTP/1.1",
    "Host: cluster",
    ...(token === undefined ? [] : [`Authorization: Bearer ${token}`]),
    "Content-Type: application/json",
    `Content-Length: ${body.length}`,
    "Connection: close",
  ];
  tls.write(`${lines.join("\r\n")}\r\n\r\n${body}`);
  const answer = await text(tls);
  stream.on("error", () => undefined).destroy();
  return answer;
}

test("a stream for another cluster ends at the agent", async () => {
  for (const upstream of ["kubernetes", "probe", ECHO]) {
    const stream = session.open(request(upstream, { cluster: parseClusterId("other") }));
    await expect(stream.accepted).rejects.toMatchObject({ code: "CC_CLUSTER_UNKNOWN" });
  }
  const ways = ["../proxy.sock", "127.0.0.1:22", "constructor", ""];
  for (const upstream of ways) {
    const answer = await session.open(request(upstream)).accepted.catch(toConnectError);
    expect(answer).toMatchObject({ code: expect.stringMatching(/^CC_(UPSTREAM_UNREACHABLE|FRAME_INVALID)$/) });
  }
});

test("whoever the relay says is calling, the token alone decides", async () => {
  const root: Caller = { issuer: "https://issuer.test", subject: "root", username: "system:admin" };
  const without = await ask(session.open(request("kubernetes", { caller: root })), undefined);
  expect(without).toMatch(/^HTTP\/1\.1 401 /);
  const answer = await ask(session.open(request("kubernetes", { caller: root })), await world.token("jane"));
  expect(answer).toMatch(/^HTTP\/1\.1 201 /);
  expect(answer).toContain('"username":"demo:jane"');
  expect(answer).not.toContain("system:admin");
});

test("a RESUME that was changed or is said again gets nothing, and the stream goes on", async () => {
  const deps = { clock: SYSTEM_CLOCK, random: Math.random, secret: () => KEY };
  const opener = createStreamOpener({ graceMs: 60_000 }, deps);
  opener.use(session);
  // The relay would write the caller into both. A stream without one belongs to no other caller either.
  const asked = { cluster: CLUSTER, upstream: ECHO, correlationId: CORRELATION_ID };
  const stream = await opener.open(asked, { signal: NO_END });
  const { instanceId } = await stream.accepted;
  const read = reader(stream);
  stream.write("before");
  expect((await read(6)).toString()).toBe("before");
  session.close();
  session = await hostile.nextSession();
  const right: Resume = {
    cluster: CLUSTER,
    upstream: ECHO,
    instanceId,
    key: KEY,
    attempt: 1,
    viaPeer: false,
    received: 6,
    consumed: 6,
    windowBytes: 262_144,
  };
  const wrong: readonly (readonly [Partial<Resume>, string])[] = [
    [{ key: createSecret() }, "CC_RESUME_UNKNOWN"],
    [{ caller: JANE }, "CC_RESUME_UNKNOWN"],
    [{ instanceId: parseInstanceId("another-one"), key: createSecret() }, "CC_RESUME_UNKNOWN"],
    [{ cluster: parseClusterId("other") }, "CC_CLUSTER_UNKNOWN"],
    [{ upstream: "kubernetes" }, "CC_RESUME_UNKNOWN"],
  ];
  for (const [change, code] of wrong) expect(await sendResume(session, { ...right, ...change })).toBe(code);
  opener.use(session);
  stream.write("after");
  expect((await read(5)).toString()).toBe("after");
  expect(await sendResume(session, right)).toBe("CC_SUPERSEDED");
  stream.end("last");
  expect((await read(4)).toString()).toBe("last");
  stream.resume();
  await expect(stream.done).resolves.toEqual({ kind: "finished" });
  expect(await sendResume(session, { ...right, attempt: 9 })).toBe("CC_STREAM_FINISHED");
  opener.close();
});

test("a RESUME from a byte that nobody sent ends that stream alone", async () => {
  const other = session.open(request(ECHO));
  await other.accepted;
  const stream = session.open(request(ECHO, { key: createSecret(), graceMs: 60_000 }));
  stream.on("error", () => undefined);
  const { instanceId } = await stream.accepted;
  const key = createSecret();
  const held = session.open(request(ECHO, { key, graceMs: 60_000 }));
  held.on("error", () => undefined);
  await held.accepted;
  const code = await sendResume(session, {
    cluster: CLUSTER,
    upstream: ECHO,
    instanceId,
    key,
    attempt: 1,
    caller: JANE,
    viaPeer: false,
    received: 1_000_000,
    consumed: 1_000_000,
    windowBytes: 262_144,
  });
  expect(code).toBe("CC_RESUME_GAP");
  await expect(held.done).resolves.toMatchObject({ kind: "reset", error: { code: "CC_RESUME_GAP" } });
  other.end("here");
  expect(await text(other)).toBe("here");
  stream.destroy();
});

test("a proof that another relay got for a challenge of the right one is refused there", async () => {
  const issuerUrl = world.issuer.url;
  const folder = join(world.folder, "relay");
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const authenticationConfig = join(world.folder, "relay-issuers.json");
  await writeAuthentication(authenticationConfig, { issuerUrl, audience: RELAY_AUDIENCE });
  const config = {
    listen: { host: "127.0.0.1", port },
    publicUrl: url,
    dataDir: join(folder, "data"),
    authenticationConfig,
    allowInsecureLoopbackIssuer: true,
    admins: [{ issuer: issuerUrl, condition: "claims.sub == 'root'" }],
  };
  const main = repositoryFile("apps/relay/src/main.ts");
  await startDaemon(
    { name: "relay", main, folder, config, readyEvent: "relay.listening" },
    { signal: NO_END },
    { keeper },
  );
  const token = await world.issuer.sign({ aud: RELAY_AUDIENCE, sub: "root", preferred_username: "root", groups: [] });
  for (const [path, body] of [
    ["clusters", { id: CLUSTER }],
    ["keys", { cluster: CLUSTER, publicKey: hostile.publicKey }],
  ] as const) {
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    const answer = await fetch(`${url}/v1/admin/${path}`, { method: "POST", headers, body: JSON.stringify(body) });
    expect(answer.status).toBe(200);
  }
  const agentInstanceId = session.peer?.instanceId;
  if (agentInstanceId === undefined) throw new Error("the agent has said HELLO");
  const channel = await dialWebSocket(new URL("/v1/agent", url), { signal: AbortSignal.timeout(20_000) });
  const stolen = dialSession(channel, {
    role: "agent",
    instanceId: agentInstanceId,
    software: "thief/0",
    prove: async ({ challenge, instanceId }) => {
      if (challenge === undefined) throw new Error("no challenge");
      const { proof } = await hostile.steal({ instanceId, challenge });
      return proof;
    },
  });
  await expect(stolen.ready).rejects.toMatchObject({ code: "CC_CHALLENGE_FAILED" });
  session = await hostile.nextSession();
  await expect(session.open(request(ECHO)).accepted).resolves.toMatchObject({ instanceId: agentInstanceId });
});
