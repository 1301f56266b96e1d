import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { type AddressInfo, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { TLSSocket } from "node:tls";
import { fileURLToPath } from "node:url";
import { startTestIssuer, type TestIssuer } from "@cluster-connect/auth/testing";
import { afterEach, beforeEach, expect, onTestFinished, test } from "vitest";
import { loadAuthority } from "../src/certificates/authority.ts";
import { buildProxyHeader } from "./support/proxy-header.ts";
import { type RawAnswer, readAnswer, requestText, secure } from "./support/raw-client.ts";
import { type RecordingUpstream, startRecordingUpstream } from "./support/recording-upstream.ts";

const MAIN = fileURLToPath(new URL("../src/main.ts", import.meta.url));

let folder: string;
let issuer: TestIssuer;
let upstream: RecordingUpstream;
let child: ChildProcess | undefined;
let lines: Record<string, unknown>[];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "auth-proxy-process-"));
  issuer = await startTestIssuer();
  const options = { clusterId: "up", seconds: 3_600, now: new Date() };
  const ca = await loadAuthority(join(folder, "upstream"), options);
  upstream = await startRecordingUpstream(await ca.issue(["127.0.0.1"], { seconds: 3_600, now: new Date() }));
  await writeFile(join(folder, "ca.crt"), ca.certPem);
  await writeFile(join(folder, "token"), "own");
  await writeIssuers("aud");
});
afterEach(async () => {
  child?.kill("SIGKILL");
  await issuer[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

async function writeIssuers(
  audience: string,
  trusted: Pick<TestIssuer, "url"> = issuer,
  certificateAuthority?: string,
): Promise<void> {
  const claimMappings = { username: { claim: "sub", prefix: "x:" } };
  const jwt = [{ issuer: { url: trusted.url, audiences: [audience], certificateAuthority }, claimMappings }];
  const config = { apiVersion: "apiserver.config.k8s.io/v1", kind: "AuthenticationConfiguration", jwt };
  await writeFile(join(folder, "issuers.yaml"), JSON.stringify(config));
}

async function start(
  changes: Readonly<Record<string, unknown>> = {},
  env: Readonly<Record<string, string>> = {},
): Promise<ChildProcess> {
  const config = {
    clusterId: "demo",
    listen: { socket: "proxy.sock" },
    stateDir: "state",
    publishCaPath: "published/ca.crt",
    authenticationConfig: "issuers.yaml",
    allowInsecureLoopbackIssuer: true,
    upstream: { url: upstream.url, caFile: "ca.crt", tokenFile: "token" },
    health: { host: "127.0.0.1", port: 0 },
    impersonation: { mode: "legacy" },
    selfCheck: false,
    drainSeconds: 2,
    ...changes,
  };
  await writeFile(join(folder, "config.yaml"), JSON.stringify(config));
  const args = ["--conditions=source", MAIN, "--config", join(folder, "config.yaml")];
  const started = spawn(process.execPath, args, {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, ...env },
  });
  child = started;
  lines = [];
  createInterface({ input: started.stderr }).on("line", (line) => {
    lines.push(line.startsWith("{") ? JSON.parse(line) : { text: line });
  });
  return started;
}

const logged =
  (event: string): (() => unknown) =>
  () =>
    lines.find((line) => line["event"] === event);

/** How many callers' requests the upstream got. */
const passedOn = (): number => upstream.requests.filter(({ target }) => target.startsWith("/api/v1/pods")).length;

async function send(audience: string, target = "/api/v1/pods", claims = {}): Promise<RawAnswer> {
  const stream = await ask(audience, target, claims);
  const answer = await readAnswer(stream);
  stream.destroy();
  return answer;
}

async function ask(audience: string, target: string, claims = {}): Promise<TLSSocket> {
  const socket = connect(join(folder, "proxy.sock"));
  socket.write(buildProxyHeader({ address: [203, 0, 113, 7] }));
  const caPem = await readFile(join(folder, "published", "ca.crt"), "utf8");
  const stream = await secure(socket, { port: 0, caPem, servername: "demo.clusters.cluster-connect.internal" });
  const token = await issuer.sign({ aud: audience, sub: "alice", ...claims });
  stream.write(requestText(`GET ${target} HTTP/1.1`, ["Host: a", `Authorization: Bearer ${token}`]));
  return stream;
}

function isListening(): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(join(folder, "proxy.sock"), () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

test("the process serves a unix socket that only its user and group can open, and stops on SIGTERM", async () => {
  const started = await start();
  await expect.poll(logged("serving"), { timeout: 30_000 }).toBeDefined();
  expect((await stat(join(folder, "proxy.sock"))).mode & 0o777).toBe(0o660);
  expect((await send("aud")).status).toBe(200);
  started.kill("SIGTERM");
  const [code] = await once(started, "exit");
  expect(code).toBe(0);
  await expect(stat(join(folder, "proxy.sock"))).rejects.toThrow();
});

test("a changed issuers' file takes over without a restart; a broken one does not, and says so", async () => {
  await start();
  await expect.poll(logged("serving"), { timeout: 30_000 }).toBeDefined();
  expect((await send("other")).status).toBe(401);
  await writeFile(join(folder, "issuers.yaml"), "kind: Nonsense");
  await expect.poll(logged("issuers.kept"), { timeout: 30_000 }).toMatchObject({ code: "CC_CONFIG_INVALID" });
  expect((await send("aud")).status).toBe(200);
  await writeIssuers("other");
  await expect.poll(logged("issuers.reloaded"), { timeout: 30_000 }).toBeDefined();
  expect((await send("other")).status).toBe(200);
  expect((await send("aud")).status).toBe(401);
});

test("a token for another cluster is refused where the issuers' file has an audience for each", async () => {
  await writeIssuers("https://k8s.example.com/{cluster}");
  await start();
  await expect.poll(logged("serving"), { timeout: 30_000 }).toBeDefined();
  expect((await send("https://k8s.example.com/demo")).status).toBe(200);
  const refused = await send("https://k8s.example.com/staging");
  expect(refused.status).toBe(401);
  expect(refused.body).toContain("CC_TOKEN_AUDIENCE");
  expect((await send("https://k8s.example.com/{cluster}")).status).toBe(401);
});

test("what is open ends when its caller's issuer is taken out of the file, but not when only the audience changes", async () => {
  upstream.answer = (_request, response) => {
    response.writeHead(200, { "Content-Type": "application/json" });
    response.write('{"type":"ADDED","object":{}}\n');
  };
  await start();
  await expect.poll(logged("serving"), { timeout: 30_000 }).toBeDefined();
  const stream = await ask("aud", "/api/v1/pods?watch=true");
  let text = "";
  stream.on("data", (chunk: Buffer) => {
    text += chunk.toString("latin1");
  });
  await expect.poll(() => text).toContain("ADDED");
  await writeIssuers("other");
  await expect.poll(logged("issuers.reloaded"), { timeout: 30_000 }).toBeDefined();
  await using next = await startTestIssuer();
  await writeIssuers("aud", next);
  await expect.poll(() => text.endsWith("0\r\n\r\n"), { timeout: 30_000 }).toBe(true);
  expect(text).toContain('"message":"Unauthorized: The issuer of the caller\'s token is no longer trusted');
  await expect.poll(logged("request"), { timeout: 30_000 }).toMatchObject({ code: "CC_TOKEN_ISSUER", status: 200 });
  // Another audience of the same issuer was no reason.
  const reloads = lines.flatMap(({ event }, at) => (event === "issuers.reloaded" ? [at] : []));
  expect(reloads).toHaveLength(2);
  expect(lines.findIndex(({ event }) => event === "request")).toBeGreaterThan(reloads[1] ?? 0);
  stream.destroy();
});

test("on SIGHUP the issuers' file is read again at once, and the process goes on", async () => {
  const started = await start();
  await expect.poll(logged("serving"), { timeout: 30_000 }).toBeDefined();
  await writeIssuers("other");
  started.kill("SIGHUP");
  await expect.poll(logged("signal.hangup"), { timeout: 30_000 }).toBeDefined();
  await expect.poll(logged("issuers.reloaded"), { timeout: 30_000 }).toBeDefined();
  expect(started.exitCode).toBeNull();
  started.kill("SIGTERM");
  expect(await once(started, "exit")).toEqual([0, null]);
});

test("keys of an issuer that only an HTTP proxy reaches come by it, in the environment that the chart gives", async () => {
  const lasts = { seconds: 3_600, now: new Date() };
  const authority = await loadAuthority(join(folder, "company"), { clusterId: "company", ...lasts });
  const { certPem: cert, keyPem: key } = await authority.issue(["login.example.com"], lasts);
  const keys = { keys: issuer.publicKeys() };
  const https = createHttpsServer({ key, cert }, ({ url }, response) => {
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify(url === "/keys" ? keys : { issuer: iss, jwks_uri: `${iss}/keys` }));
  });
  const asked: string[] = [];
  const proxy = createServer().on("connect", ({ url = "" }, client, head) => {
    asked.push(url);
    const { port } = https.address() as AddressInfo;
    const upstreamSocket = connect(port, "127.0.0.1", () => {
      client.write("HTTP/1.1 200 OK\r\n\r\n");
      upstreamSocket.write(head);
      upstreamSocket.pipe(client).pipe(upstreamSocket);
    });
    for (const socket of [client, upstreamSocket]) socket.on("error", () => {});
  });
  for (const server of [https, proxy]) await once(server.listen(0, "127.0.0.1"), "listening");
  onTestFinished(() => [https, proxy].forEach((server) => void server.close()));
  const iss = `https://login.example.com:${(https.address() as AddressInfo).port}`;
  const url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  await writeIssuers("aud", { url: iss }, authority.certPem);
  await start({}, { HTTPS_PROXY: url, NO_PROXY: "localhost,127.0.0.1", NODE_USE_ENV_PROXY: "1" });
  await expect.poll(logged("serving"), { timeout: 30_000 }).toBeDefined();
  expect((await send("aud", "/api/v1/pods", { iss })).status).toBe(200);
  expect(asked).toContain(new URL(iss).host);
});

test("on SIGTERM what is under way may end within the drain time, nothing new begins", async () => {
  const gate = Promise.withResolvers<void>();
  const started = await start();
  await expect.poll(logged("serving"), { timeout: 30_000 }).toBeDefined();
  upstream.answer = (_request, response) =>
    void gate.promise.then(() => response.writeHead(200, { "Content-Length": "2" }).end("{}"));
  const answer = send("aud");
  await expect.poll(passedOn).toBe(1);
  started.kill("SIGTERM");
  await expect.poll(logged("shutdown.begin")).toBeDefined();
  await expect.poll(isListening).toBe(false);
  gate.resolve();
  expect((await answer).status).toBe(200);
  expect(await once(started, "exit")).toEqual([0, null]);
});

test("a watch does not hold the stop up beyond the drain time, and is told why it ends", async () => {
  const started = await start({ drainSeconds: 1 });
  await expect.poll(logged("serving"), { timeout: 30_000 }).toBeDefined();
  upstream.answer = (_request, response) =>
    void response.writeHead(200, { "Content-Type": "application/json" }).write("{}\n");
  const watch = send("aud", "/api/v1/pods?watch=1");
  await expect.poll(passedOn).toBe(1);
  const startedAt = Date.now();
  started.kill("SIGTERM");
  await once(started, "exit");
  expect(Date.now() - startedAt).toBeLessThan(30_000);
  expect((await watch).body).toContain("The auth proxy is stopping");
});

test("a second process on the same socket says that it is in use", async () => {
  await start();
  await expect.poll(logged("serving"), { timeout: 30_000 }).toBeDefined();
  const first = child;
  const second = await start();
  expect(await once(second, "exit")).toEqual([65, null]);
  await expect.poll(() => JSON.stringify(lines)).toContain("CC_PORT_IN_USE");
  first?.kill("SIGKILL");
});

test("an apiserver that is not there yet is waited for", async () => {
  const port = Number(new URL(upstream.url).port);
  await upstream[Symbol.asyncDispose]();
  await start({ impersonation: { mode: "auto" } });
  await expect.poll(logged("apiserver.awaited"), { timeout: 30_000 }).toBeDefined();
  const options = { clusterId: "up", seconds: 3_600, now: new Date() };
  const ca = await loadAuthority(join(folder, "upstream"), options);
  upstream = await startRecordingUpstream(await ca.issue(["127.0.0.1"], { seconds: 3_600, now: new Date() }), port);
  upstream.answer = (request, response) => {
    const body = request.url === "/version" ? '{"major":"1","minor":"35"}' : "{}";
    response.writeHead(200, { "Content-Type": "application/json" }).end(body);
  };
  await expect.poll(logged("serving"), { timeout: 30_000 }).toMatchObject({ mode: "legacy" });
});
