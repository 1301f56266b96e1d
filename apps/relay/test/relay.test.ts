import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { dialSession } from "@cluster-connect/framing";
import { dialWebSocket } from "@cluster-connect/framing/ws";
import { parseClusterId, parseSessionId } from "@cluster-connect/protocol";
import { describe, expect, test } from "vitest";
import { dialAgent, dialCli, enrollAgent, openRequest, opsToken, startFixture } from "./support/fixture.ts";

describe("a stream", () => {
  test("of a granted caller reaches the cluster's agent and comes back", async () => {
    const fixture = await startFixture();
    const agent = await enrollAgent(fixture);
    await (await dialAgent(fixture, agent)).ready;
    const cli = await dialCli(fixture, await opsToken(fixture));
    const stream = cli.open(openRequest());
    stream.end("hello");
    await expect(text(stream)).resolves.toBe("hello");
    await expect(stream.accepted).resolves.toMatchObject({ instanceId: agent.instanceId });
    await expect(stream.done).resolves.toEqual({ kind: "finished" });
  });

  test("tells the agent who is calling, as the relay verified it", async () => {
    const fixture = await startFixture({ config: { trustedProxies: ["127.0.0.1"] } });
    const request = Promise.withResolvers<unknown>();
    await (
      await dialAgent(fixture, await enrollAgent(fixture), {
        onStream: (incoming) => {
          request.resolve(incoming.request);
          incoming.reject("CC_UPSTREAM_UNREACHABLE", "no");
        },
      })
    ).ready;
    const cli = await dialCli(fixture, await opsToken(fixture), { "x-forwarded-for": "198.51.100.7" });
    const { sessionId } = await cli.ready;
    const stream = cli.open(openRequest());
    await expect(stream.accepted).rejects.toMatchObject({ code: "CC_UPSTREAM_UNREACHABLE", message: "no" });
    await expect(request.promise).resolves.toMatchObject({
      kind: "open",
      open: {
        cluster: "prod",
        upstream: "kubernetes",
        correlationId: "0123456789abcdef",
        viaPeer: false,
        sessionId,
        caller: { issuer: fixture.issuer.url, subject: "jane", username: "jane", address: "198.51.100.7" },
      },
    });
  });

  test("to a cluster that is not there and one that is not granted end alike", async () => {
    const fixture = await startFixture({ grants: [{ clusters: ["prod", "gone"], users: ["jane"] }] });
    await (await dialAgent(fixture, await enrollAgent(fixture))).ready;
    await enrollAgent(fixture, parseClusterId("secret"));
    const jane = await dialCli(fixture, await opsToken(fixture));
    const joe = await dialCli(fixture, await opsToken(fixture, { sub: "joe" }));
    const outcome = (name: string, session = jane) =>
      session
        .open(openRequest({ cluster: parseClusterId(name) }))
        .accepted.catch(({ code, message }) => ({ code, message: message.replaceAll(name, "X") }));
    const unknown = await outcome("gone");
    expect(unknown).toMatchObject({ code: "CC_CLUSTER_UNKNOWN" });
    await expect(outcome("secret")).resolves.toEqual(unknown);
    await expect(outcome("never")).resolves.toEqual(unknown);
    await expect(outcome("prod", joe)).resolves.toEqual(unknown);
    await expect(outcome("prod")).resolves.toMatchObject({ graceMs: 0 });
  });

  test("to a cluster without an agent is told so, with when to try again", async () => {
    const fixture = await startFixture();
    await enrollAgent(fixture);
    const cli = await dialCli(fixture, await opsToken(fixture));
    await expect(cli.open(openRequest()).accepted).rejects.toMatchObject({
      code: "CC_AGENT_OFFLINE",
      retryAfterMs: 1_000,
    });
  });

  test("that claims what only a relay writes is refused", async () => {
    const fixture = await startFixture();
    await (await dialAgent(fixture, await enrollAgent(fixture))).ready;
    const cli = await dialCli(fixture, await opsToken(fixture));
    const caller = { issuer: "x", subject: "x", username: "root" };
    const sessionId = parseSessionId("session-1");
    for (const change of [{ caller }, { sessionId }, { viaPeer: true }]) {
      await expect(cli.open({ ...openRequest(), ...change }).accepted).rejects.toMatchObject({ code: "CC_PROTOCOL" });
    }
  });

  test("ends when its grant does", async () => {
    const expiresAt = new Date(Date.now() + 1_500);
    const fixture = await startFixture({ grants: [{ clusters: ["prod"], users: ["jane"], expiresAt }] });
    await (await dialAgent(fixture, await enrollAgent(fixture))).ready;
    const cli = await dialCli(fixture, await opsToken(fixture));
    const stream = cli.open(openRequest());
    await stream.accepted;
    await expect(stream.done).resolves.toMatchObject({ kind: "reset", error: { code: "CC_GRANT_MISSING" } });
    expect(Date.now()).toBeGreaterThanOrEqual(expiresAt.getTime());
    await expect(cli.open(openRequest()).accepted).rejects.toMatchObject({ code: "CC_CLUSTER_UNKNOWN" });
  });

  test("is reset at the caller when the agent's tunnel is lost", async () => {
    const fixture = await startFixture();
    const tunnel = await dialAgent(fixture, await enrollAgent(fixture));
    await tunnel.ready;
    const cli = await dialCli(fixture, await opsToken(fixture));
    const stream = cli.open(openRequest());
    await stream.accepted;
    tunnel.close();
    await expect(stream.done).resolves.toMatchObject({ kind: "reset", error: { code: "CC_CHANNEL_LOST" } });
    await fixture.log.once("tunnel.closed");
    expect(fixture.relay.registry.view(openRequest().cluster).state).toBe("offline");
  });
});

describe("a channel of a caller", () => {
  const attempt = async (claims: Record<string, unknown> | undefined) => {
    const fixture = await startFixture();
    const token = claims === undefined ? "" : await opsToken(fixture, claims);
    return await dialCli(fixture, token).catch((error: unknown) => error);
  };
  const now = () => Math.floor(Date.now() / 1_000);

  test.each([
    ["without a token", undefined, "CC_TOKEN_MISSING"],
    ["with a token for the cluster", { aud: "https://cluster.test" }, "CC_TOKEN_AUDIENCE"],
    ["with a token that has expired", { exp: now() - 3_600 }, "CC_TOKEN_EXPIRED"],
    ["with a token that expired a moment ago, within the leeway for clocks", { exp: now() - 5 }, "CC_TOKEN_EXPIRED"],
    ["with a token of another issuer", { iss: "https://elsewhere.test" }, "CC_TOKEN_ISSUER"],
    ["with a token that is not valid yet", { nbf: now() + 3_600 }, "CC_TOKEN_INVALID"],
  ])("%s is refused before it is opened", async (_name, claims, code) => {
    await expect(attempt(claims)).resolves.toMatchObject({ code });
  });

  test("ends when the token does, with a moment to move its streams", async () => {
    const fixture = await startFixture();
    const agent = await enrollAgent(fixture);
    await (await dialAgent(fixture, agent)).ready;
    const cli = await dialCli(fixture, await opsToken(fixture, { exp: now() + 2 }));
    await cli.ready;
    expect(cli.open(openRequest())).toBeDefined();
    const end = await cli.closed;
    expect(end).toMatchObject({ code: "CC_TOKEN_EXPIRED", by: "peer" });
  });

  test("is refused with two Authorization headers, on another path, and without the subprotocol", async () => {
    const fixture = await startFixture();
    const token = await opsToken(fixture);
    const upgrade = {
      connection: "Upgrade",
      upgrade: "websocket",
      "sec-websocket-version": "13",
      "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
    };
    const ask = (path: string, lines: readonly string[]) => rawRequest(fixture.url, path, { ...upgrade }, lines);
    const two = [`authorization: Bearer ${token}`, `authorization: Bearer ${token}`];
    await expect(ask("/v1/connect", [...two, "sec-websocket-protocol: clusterconnect.v1"])).resolves.toMatch(
      /^HTTP\/1.1 401 .*CC_TOKEN_INVALID/s,
    );
    await expect(ask("/v1/elsewhere", two.slice(1))).resolves.toMatch(/^HTTP\/1.1 400 .*CC_REQUEST_REFUSED/s);
    await expect(ask("/v1/connect/..", two.slice(1))).resolves.toMatch(/^HTTP\/1.1 400 /);
    await expect(ask("constructor", two.slice(1))).resolves.toMatch(/^HTTP\/1.1 400 /);
    await expect(ask("/v1/connect", two.slice(1))).resolves.toMatch(/^HTTP\/1.1 426 .*CC_VERSION_UNSUPPORTED/s);
    await expect(ask("/v1/connect", ["sec-websocket-protocol: clusterconnect.v1"])).resolves.toMatch(
      /^HTTP\/1.1 401 .*www-authenticate: Bearer.*CC_TOKEN_MISSING/s,
    );
    expect(JSON.stringify(fixture.log.lines)).not.toContain(token.slice(-20));
  });

  test("is not opened by somebody who says to be an agent", async () => {
    const fixture = await startFixture();
    const token = await opsToken(fixture);
    const channel = await dialWebSocket(new URL("/v1/connect", fixture.url), {
      signal: AbortSignal.timeout(5_000),
      headers: { authorization: `Bearer ${token}` },
    });
    const session = dialSession(channel, {
      role: "agent",
      instanceId: (await enrollAgent(fixture)).instanceId,
      software: "x",
    });
    await expect(session.ready).rejects.toMatchObject({ code: "CC_PROTOCOL" });
  });
});

async function rawRequest(
  url: URL,
  path: string,
  headers: Record<string, string>,
  lines: readonly string[],
): Promise<string> {
  const socket = connect(Number(url.port), url.hostname);
  const all = [
    `GET ${path} HTTP/1.1`,
    `host: ${url.host}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    ...lines,
  ];
  socket.write(`${all.join("\r\n")}\r\n\r\n`);
  return await text(socket);
}
