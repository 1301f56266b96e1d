import { once } from "node:events";
import { mkdtemp, writeFile } from "node:fs/promises";
import { createServer as createHttpServer } from "node:http";
import { createServer, request } from "node:https";
import { type AddressInfo, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Authority, createAuthority } from "../../src/cluster/control-plane/certificates.ts";
import { type Keeper, type Program, startKeeper } from "../../src/process/keeper.ts";
import { type LogEvent, readLogEvents } from "../../src/process/log-events.ts";
import { type Agent, startAgent } from "../../src/stack/agent.ts";
import { RELAY_AUDIENCE } from "../../src/stack/issuer.ts";
import { type Relay, startRelay } from "../../src/stack/relay.ts";
import { NO_END } from "../support/stack.ts";

/** Relay and agent in the environment that the charts and the machines give them. */
const ends: (() => unknown)[] = [];
let keeper: Keeper;
let relay: Relay;
let agent: Agent;
/** The ports that the proxy was asked to lead to, with their names. */
const asked: string[] = [];
let issuer: Awaited<ReturnType<typeof startIssuer>>;

const ISSUER_NAME = "login.example.com";
const CLUSTER = "prod";
const ALGORITHM = "ES256";
const LIFE_SECONDS = 3_600;

beforeAll(async () => {
  keeper = await startKeeper();
  ends.unshift(() => keeper.stop());
  const folder = await mkdtemp(join(tmpdir(), "cc-env-"));
  keeper.ownFolder(folder);
  const at = (name: string): string => join(folder, name);
  const authority = await createAuthority("a company's own", { now: () => new Date() });
  await writeFile(at("company.crt"), authority.certPem);
  issuer = await startIssuer(authority);
  const proxy = await startProxy();
  // As the chart of the relay sets it.
  const env = { HTTPS_PROXY: proxy, NODE_USE_ENV_PROXY: "1", NODE_EXTRA_CA_CERTS: at("company.crt") };
  relay = await startRelay(
    { folder: at("relay"), signal: NO_END, issuerUrl: issuer.url, env },
    { keeper, now: () => new Date() },
  );
  ends.unshift(() => relay.stop());
  const code = await relay.enrollmentCode(CLUSTER, { signal: NO_END });
  const authProxy = { socket: at("p.sock"), healthUrl: "http://127.0.0.1:1/readyz", caFile: at("company.crt") };
  // The relay's authority is in the machine's store, and in no setting.
  const trusting = { relay: { url: relay.url, caFile: undefined }, env: { SSL_CERT_FILE: relay.caFile ?? "" } };
  agent = await startAgent({ folder: at("agent"), signal: NO_END, authProxy, code, ...trusting }, { keeper });
  ends.unshift(() => agent.stop());
});

afterAll(async () => {
  for (const end of ends) await end();
});

/** An issuer under a name that this machine does not know. */
async function startIssuer(authority: Authority) {
  const { publicKey, privateKey } = await generateKeyPair(ALGORITHM);
  const jwks = { keys: [{ ...(await exportJWK(publicKey)), kid: "k", alg: ALGORITHM, use: "sig" }] };
  const { certPem: cert, keyPem: key } = await authority.issue({ commonName: ISSUER_NAME, hosts: [ISSUER_NAME] });
  const server = createServer({ cert, key }, ({ url }, response) => {
    const document = url === "/jwks" ? jwks : { issuer: issuer.url, jwks_uri: `${issuer.url}/jwks` };
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(document));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  ends.unshift(() => {
    server.close();
    server.closeAllConnections();
  });
  const own = `https://${ISSUER_NAME}:${portOf(server.address())}`;
  const token = () =>
    new SignJWT({ preferred_username: "jane", groups: ["viewers"] })
      .setProtectedHeader({ alg: ALGORITHM, kid: "k" })
      .setIssuer(own)
      .setSubject("jane")
      .setAudience(RELAY_AUDIENCE)
      .setExpirationTime(`${LIFE_SECONDS} s`)
      .sign(privateKey);
  return { url: own, token };
}

/** Knows CONNECT, and where every name leads to. */
async function startProxy(): Promise<string> {
  const server = createHttpServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  server.on("connect", ({ url = "" }, client, head) => {
    asked.push(url);
    const upstream = connect(Number(url.split(":").at(-1)), "127.0.0.1", () => {
      client.write("HTTP/1.1 200 OK\r\n\r\n");
      upstream.write(head);
      upstream.pipe(client).pipe(upstream);
    });
    for (const socket of [client, upstream]) socket.on("error", () => {});
  });
  ends.unshift(() => server.close());
  return `http://127.0.0.1:${portOf(server.address())}`;
}

function portOf(address: AddressInfo | string | null): number {
  if (address === null || typeof address === "string") throw new Error("it does not listen");
  return address.port;
}

/** The clusters that a caller sees. */
async function clusters(): Promise<{ readonly status: number | undefined; readonly body: string }> {
  const headers = { authorization: `Bearer ${await issuer.token()}` };
  // The suite trusts the relay by its name alone: what is looked at is the relay's own trust.
  const asking = request(new URL("/v1/clusters", relay.url), { headers, rejectUnauthorized: false, agent: false });
  asking.end();
  const [response] = await once(asking, "response");
  let body = "";
  for await (const chunk of response) body += String(chunk);
  return { status: response.statusCode, body };
}

const logged = async (program: Program | undefined): Promise<readonly LogEvent[]> =>
  await readLogEvents(program?.logPath ?? "");

test("an issuer's keys come by the proxy, under an authority of the company's, to a relay as its chart starts it", async () => {
  expect(await clusters()).toMatchObject({ status: 200 });
  expect(asked).toContain(new URL(issuer.url).host);
});

test("an agent without an authority in its settings takes a relay that the machine's store vouches for", async () => {
  expect((await logged(agent.program)).map(({ event }) => event)).toContain("tunnel.open");
  expect(JSON.parse((await clusters()).body)).toMatchObject({ clusters: [{ id: CLUSTER }] });
});

test("SIGHUP ends neither relay nor agent, is in their logs, and SIGTERM ends both in order", async () => {
  for (const program of [relay.program, agent.program]) {
    program?.signal("SIGHUP");
    await expect.poll(() => logged(program)).toContainEqual(expect.objectContaining({ event: "signal.hangup" }));
  }
  expect(await clusters()).toMatchObject({ status: 200 });
  expect((await logged(agent.program)).map(({ event }) => event)).not.toContain("tunnel.closed");
  for (const program of [agent.program, relay.program]) {
    program?.signal("SIGTERM");
    expect(await program?.ended).toEqual({ code: 0, signal: null });
  }
});
