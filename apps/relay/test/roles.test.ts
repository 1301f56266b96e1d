import { readFile } from "node:fs/promises";
import { dialSession } from "@cluster-connect/framing";
import { dialWebSocket } from "@cluster-connect/framing/ws";
import type { Role } from "@cluster-connect/protocol";
import { parseClusterId } from "@cluster-connect/protocol";
import { createInstanceId } from "@cluster-connect/service";
import { expect, test } from "vitest";
import { dialAgent, enrollAgent, type Fixture, opsToken, PROD, startFixture } from "./support/fixture.ts";
import { startFleet } from "./support/fleet.ts";

const signal = (): AbortSignal => AbortSignal.timeout(10_000);

/** Dials a path, with a person's token or without, and says HELLO in this role, without a proof. */
async function dialAs(fixture: Fixture, path: string, role: Role, token?: string) {
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const channel = await dialWebSocket(new URL(path, fixture.url), { signal: signal(), headers });
  return dialSession(channel, { role, instanceId: createInstanceId(), software: "test" });
}

test.each<Role>(["cli", "agent", "peer", "relay"])(
  "a person's token is worth nothing where agents dial, as %s",
  async (role) => {
    const fixture = await startFixture();
    const session = await dialAs(fixture, "/v1/agent", role, await opsToken(fixture));
    await expect(session.ready).rejects.toMatchObject({ code: "CC_PROTOCOL" });
  },
);

test("an agent's key is worth nothing where people dial", async () => {
  const fixture = await startFixture();
  const agent = await enrollAgent(fixture);
  await (await dialAgent(fixture, agent)).ready;
  await expect(dialAs(fixture, "/v1/connect", "agent")).rejects.toMatchObject({ code: "CC_TOKEN_MISSING" });
  await expect(dialAs(fixture, "/v1/connect", "agent", agent.key.publicKey)).rejects.toMatchObject({
    code: "CC_TOKEN_INVALID",
  });
});

test("neither a person's token nor an agent opens the port for relays", async () => {
  const [relay] = await startFleet(1);
  if (relay === undefined) throw new Error("one relay was asked for");
  const url = new URL("/v1/peer", `https://${relay.config.peers?.address}`);
  const headers = { authorization: `Bearer ${await opsToken(relay)}` };
  const ca = await readFile(relay.config.peers?.caFile ?? "", "utf8");
  await expect(dialWebSocket(url, { signal: signal(), headers, tls: { ca } })).rejects.toMatchObject({
    code: "CC_TLS_UNTRUSTED",
  });
});

test("one cluster's agent does not register as another's, however it puts it", async () => {
  const fixture = await startFixture();
  const a = await enrollAgent(fixture, parseClusterId("a"));
  await enrollAgent(fixture, PROD);
  const refused = { code: "CC_AGENT_KEY_REFUSED" };
  await expect((await dialAgent(fixture, a)).ready).rejects.toMatchObject(refused);
  const named = await dialAgent(fixture, a, { tamper: (proof) => ({ ...proof, clusterId: parseClusterId("a") }) });
  await expect(named.ready).rejects.toMatchObject({ code: "CC_CHALLENGE_FAILED" });
  expect(fixture.relay.registry.view(PROD).agents).toEqual([]);
});
