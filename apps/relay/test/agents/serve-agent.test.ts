import { generateAgentKey, mintEnrollmentCode, signChallenge } from "@cluster-connect/auth";
import { type AgentProof, agentChallengeInput, parseClusterId, parseSecret } from "@cluster-connect/protocol";
import { createInstanceId } from "@cluster-connect/service";
import { describe, expect, test, vi } from "vitest";
import { parseAuthorities } from "../../src/agents/authorities.ts";
import { revokeAgentKey } from "../../src/store/queries/agent-keys.ts";
import { listClusters } from "../../src/store/queries/clusters.ts";
import { ask } from "../support/admin.ts";
import {
  dialAgent,
  dialCli,
  enrollAgent,
  HEALTHY,
  openRequest,
  opsToken,
  PROD,
  pem,
  startFixture,
} from "../support/fixture.ts";

describe("an agent's proof", () => {
  test("by an enrolled key opens a tunnel", async () => {
    const fixture = await startFixture();
    const session = await dialAgent(fixture, await enrollAgent(fixture));
    await expect(session.ready).resolves.toMatchObject({ peer: { role: "relay" } });
  });

  test("by a key that is not enrolled is refused", async () => {
    const fixture = await startFixture();
    const agent = { instanceId: createInstanceId(), key: generateAgentKey() };
    await expect((await dialAgent(fixture, agent)).ready).rejects.toMatchObject({ code: "CC_AGENT_KEY_REFUSED" });
  });

  test("by a revoked key is refused, in the same words", async () => {
    const fixture = await startFixture();
    const agent = await enrollAgent(fixture);
    await revokeAgentKey(fixture.store.db, agent.key.keyId, new Date());
    await expect((await dialAgent(fixture, agent)).ready).rejects.toMatchObject({
      code: "CC_AGENT_KEY_REFUSED",
      message: "The agent's key is not enrolled for this cluster",
    });
  });

  const tampered = async (tamper: (proof: AgentProof) => AgentProof) => {
    const fixture = await startFixture();
    const session = await dialAgent(fixture, await enrollAgent(fixture), { tamper });
    const error = await session.ready.catch((reason: unknown) => reason);
    expect(fixture.relay.registry.tunnels()).toEqual([]);
    return error;
  };

  test("for another cluster is refused", async () => {
    const clusterId = parseClusterId("other");
    await expect(tampered((proof) => ({ ...proof, clusterId }))).resolves.toMatchObject({
      code: "CC_AGENT_KEY_REFUSED",
    });
  });

  test("for another relay's name is refused", async () => {
    await expect(tampered((proof) => ({ ...proof, authority: "relay.example.com" }))).resolves.toMatchObject({
      code: "CC_CHALLENGE_FAILED",
    });
  });

  test("that another relay passes on, rightly signed for that relay's name, is refused", async () => {
    const fixture = await startFixture();
    const agent = await enrollAgent(fixture);
    const authority = "hostile.example.com";
    const session = await dialAgent(fixture, agent, {
      tamper: (proof, { challenge = parseSecret(""), instanceId: relayInstanceId }) => {
        const ids = { relayInstanceId, agentInstanceId: agent.instanceId, clusterId: PROD };
        const input = agentChallengeInput({ challenge, authority, ...ids });
        return { ...proof, authority, signature: signChallenge(agent.key, input) };
      },
    });
    await expect(session.ready).rejects.toMatchObject({ code: "CC_CHALLENGE_FAILED" });
  });

  test("signed by another key is refused", async () => {
    const stranger = generateAgentKey();
    const signature = signChallenge(stranger, new TextEncoder().encode("anything"));
    await expect(tampered((proof) => ({ ...proof, signature }))).resolves.toMatchObject({
      code: "CC_CHALLENGE_FAILED",
    });
  });

  test("with a signature of another challenge, instance or relay is refused", async () => {
    const fixture = await startFixture();
    const agent = await enrollAgent(fixture);
    const authority = fixture.url.host;
    for (const change of [
      { challenge: parseSecret("A".repeat(43)) },
      { relayInstanceId: createInstanceId() },
      { agentInstanceId: createInstanceId() },
    ]) {
      const session = await dialAgent(fixture, agent, {
        tamper: (proof, hello) => {
          const parts = {
            challenge: hello.challenge ?? parseSecret(""),
            relayInstanceId: hello.instanceId,
            agentInstanceId: agent.instanceId,
            clusterId: PROD,
            authority,
            ...change,
          };
          return { ...proof, signature: signChallenge(agent.key, agentChallengeInput(parts)) };
        },
      });
      await expect(session.ready).rejects.toMatchObject({ code: "CC_CHALLENGE_FAILED" });
    }
  });

  test("that was good once is worth nothing in the next session", async () => {
    const fixture = await startFixture();
    const agent = await enrollAgent(fixture);
    let recorded: AgentProof | undefined;
    const tamper = (proof: AgentProof): AgentProof => {
      recorded ??= proof;
      return recorded;
    };
    await (await dialAgent(fixture, agent, { tamper })).ready;
    await expect((await dialAgent(fixture, agent, { tamper })).ready).rejects.toMatchObject({
      code: "CC_CHALLENGE_FAILED",
    });
  });
});

describe("a cluster", () => {
  test("is connecting until a probe came back from its kube-apiserver, then connected", async () => {
    const fixture = await startFixture();
    let answer: unknown;
    const session = await dialAgent(fixture, await enrollAgent(fixture), { health: () => answer });
    await session.ready;
    await fixture.log.once("cluster.state");
    expect(fixture.relay.registry.view(PROD)).toMatchObject({ state: "connecting" });
    answer = HEALTHY;
    await vi.waitUntil(() => fixture.relay.registry.view(PROD).state === "connected", { timeout: 30_000 });
  });

  test("is degraded, with the hop that is missing, while the way is not whole", async () => {
    const fixture = await startFixture();
    const broken = { ...HEALTHY, apiserver: { ok: false, text: "connection refused" } };
    await (await dialAgent(fixture, await enrollAgent(fixture), { health: () => broken })).ready;
    await vi.waitUntil(() => fixture.relay.registry.view(PROD).state === "degraded", { timeout: 30_000 });
    expect(fixture.relay.registry.view(PROD).reason).toBe("kube-apiserver: connection refused");
  });

  test("whose agent answers a probe with something else is degraded", async () => {
    const fixture = await startFixture();
    await (await dialAgent(fixture, await enrollAgent(fixture), { health: () => ({ ok: true }) })).ready;
    await vi.waitUntil(() => fixture.relay.registry.view(PROD).state === "degraded", { timeout: 30_000 });
    expect(fixture.relay.registry.view(PROD).reason).toContain("does not tell of agent");
  });

  test("with several agents gets each stream at the one with the fewest", async () => {
    const fixture = await startFixture();
    const [one, two] = [await enrollAgent(fixture), await enrollAgent(fixture)];
    for (const agent of [one, two]) {
      await (await dialAgent(fixture, agent)).ready;
    }
    await vi.waitUntil(() => fixture.relay.registry.view(PROD).agents.length === 2, { timeout: 30_000 });
    await vi.waitUntil(() => fixture.relay.registry.view(PROD).state === "connected", { timeout: 30_000 });
    const cli = await dialCli(fixture, await opsToken(fixture));
    const names: string[] = [];
    for (let count = 0; count < 6; count += 1) names.push((await cli.open(openRequest()).accepted).instanceId);
    expect(names.filter((name) => name === one.instanceId).length).toBeGreaterThanOrEqual(2);
    expect(names.filter((name) => name === two.instanceId).length).toBeGreaterThanOrEqual(2);
  });

  test("whose only agent drains is offline, although a stream still runs", async () => {
    const fixture = await startFixture();
    const session = await dialAgent(fixture, await enrollAgent(fixture));
    await session.ready;
    await vi.waitUntil(() => fixture.relay.registry.view(PROD).state === "connected", { timeout: 30_000 });
    const cli = await dialCli(fixture, await opsToken(fixture));
    const stream = cli.open(openRequest());
    await stream.accepted;
    session.goaway({ deadlineMs: 60_000 });
    await vi.waitUntil(() => fixture.relay.registry.view(PROD).state === "offline", { timeout: 30_000 });
    await expect(cli.open(openRequest()).accepted).rejects.toMatchObject({ code: "CC_AGENT_OFFLINE" });
    expect(stream.destroyed).toBe(false);
  });

  test("whose key is revoked loses its tunnel within seconds", async () => {
    const fixture = await startFixture();
    const agent = await enrollAgent(fixture);
    const session = await dialAgent(fixture, agent);
    await session.ready;
    await revokeAgentKey(fixture.store.db, agent.key.keyId, new Date());
    await expect(session.closed).resolves.toMatchObject({ code: "CC_AGENT_KEY_REFUSED", by: "peer" });
  });

  test("announces other authorities, which wait until an administrator accepts them", async () => {
    const fixture = await startFixture();
    const agent = await enrollAgent(fixture);
    const tamper = (proof: AgentProof): AgentProof => ({ ...proof, clusterAuthorities: pem("other-authority") });
    await (await dialAgent(fixture, agent, { tamper })).ready;
    const { fingerprint } = await fixture.log.once("cluster.authorities.pending");
    expect((await listClusters(fixture.store.db))[0]?.authorities).toBe(pem("authority"));
    const clusters = await ask(fixture, "GET", "/v1/clusters", { as: "jane" });
    expect(clusters.body).toMatchObject({
      clusters: [{ certificateAuthorities: pem("authority"), pendingFingerprint: fingerprint }],
    });
    const settle = (body: unknown) => ask(fixture, "POST", "/v1/admin/clusters/prod/authorities", { body });
    const other = `AA${String(fingerprint).slice(2)}`;
    expect(await settle({ fingerprint: other, decision: "accepted" })).toMatchObject({ status: 400 });
    expect(await settle({ fingerprint, decision: "accepted" })).toMatchObject({ status: 200 });
    expect(await settle({ fingerprint, decision: "accepted" })).toMatchObject({ status: 400 });
    expect((await listClusters(fixture.store.db))[0]).toMatchObject({
      authorities: pem("other-authority"),
      pendingAuthorities: undefined,
    });
    const audit = await ask(fixture, "GET", "/v1/admin/audit?event=cluster.authorities.accepted");
    expect(audit.body["items"]).toMatchObject([
      { actor: { username: "root" }, cluster: "prod", detail: { fingerprint } },
    ]);
  });

  test("gets no new stream at an agent whose authorities wait, until an administrator accepts them", async () => {
    const fixture = await startFixture();
    const [true_, stolen] = [await enrollAgent(fixture), await enrollAgent(fixture)];
    await (await dialAgent(fixture, true_)).ready;
    const tamper = (proof: AgentProof): AgentProof => ({ ...proof, clusterAuthorities: pem("other-authority") });
    await (await dialAgent(fixture, stolen, { tamper })).ready;
    const { fingerprint } = await fixture.log.once("cluster.authorities.pending");
    await vi.waitUntil(() => fixture.relay.registry.probes(PROD).filter(hasPassed).length === 2, { timeout: 30_000 });
    const cli = await dialCli(fixture, await opsToken(fixture));
    const servedBy = async (count: number): Promise<ReadonlySet<string>> => {
      const names = new Set<string>();
      for (let done = 0; done < count; done += 1) names.add((await cli.open(openRequest()).accepted).instanceId);
      return names;
    };
    expect(await servedBy(6)).toEqual(new Set([true_.instanceId]));
    const record = await ask(fixture, "GET", "/v1/admin/clusters/prod");
    expect(record.body).toMatchObject({ pendingFingerprints: [fingerprint], pendingSince: expect.any(String) });
    const decided = { fingerprint, decision: "accepted" };
    await ask(fixture, "POST", "/v1/admin/clusters/prod/authorities", { body: decided });
    await expect.poll(() => servedBy(1)).toEqual(new Set([stolen.instanceId]));
    expect((await ask(fixture, "GET", "/v1/admin/clusters/prod")).body).toMatchObject({ pendingFingerprints: [] });
  });

  test("keeps an agent whose authorities wait where there is no other, and drops them when they are refused", async () => {
    const fixture = await startFixture();
    const agent = await enrollAgent(fixture);
    const both = (proof: AgentProof): AgentProof => ({
      ...proof,
      clusterAuthorities: pem("authority") + pem("other-authority"),
    });
    await (await dialAgent(fixture, agent, { tamper: both })).ready;
    const { fingerprint } = await fixture.log.once("cluster.authorities.pending");
    const cli = await dialCli(fixture, await opsToken(fixture));
    await expect(cli.open(openRequest()).accepted).resolves.toMatchObject({ instanceId: agent.instanceId });
    const { body } = await ask(fixture, "GET", "/v1/clusters", { as: "jane" });
    expect(body).toMatchObject({ clusters: [{ pendingFingerprint: fingerprint }] });
    const accepted = parseAuthorities(pem("authority")).fingerprint;
    expect(fingerprint).not.toBe(accepted);
    const settle = (of: unknown, decision: string) =>
      ask(fixture, "POST", "/v1/admin/clusters/prod/authorities", { body: { fingerprint: of, decision } });
    // One that counts already does not bring along what was announced beside it.
    expect(await settle(accepted, "accepted")).toMatchObject({ status: 400 });
    expect(await settle(fingerprint, "rejected")).toMatchObject({ status: 200 });
    expect((await listClusters(fixture.store.db))[0]).toMatchObject({
      authorities: pem("authority"),
      pendingAuthorities: undefined,
    });
  });

  test("is there again when its agent dials a relay that was restarted on the same data", async () => {
    const before = await startFixture();
    const agent = await enrollAgent(before);
    await (await dialAgent(before, agent)).ready;
    await before.stop();
    const after = await startFixture({ after: before });
    expect(after.store.relayId).toBe(before.store.relayId);
    await (await dialAgent(after, agent)).ready;
    const cli = await dialCli(after, await opsToken(after));
    await expect(cli.open(openRequest()).accepted).resolves.toMatchObject({ instanceId: agent.instanceId });
  });
});

const hasPassed = ({ probe }: { readonly probe: { readonly kind: string } }): boolean => probe.kind === "passed";

test("an agent may not open streams", async () => {
  const fixture = await startFixture();
  const session = await dialAgent(fixture, await enrollAgent(fixture));
  await session.ready;
  await expect(session.open(openRequest()).accepted).rejects.toMatchObject({ code: "CC_PROTOCOL" });
});

test("a drain says GOAWAY to agents and callers, lets streams end, and takes no new channel", async () => {
  const fixture = await startFixture();
  const agent = await enrollAgent(fixture);
  const tunnel = await dialAgent(fixture, agent);
  await tunnel.ready;
  const cli = await dialCli(fixture, await opsToken(fixture));
  const stream = cli.open(openRequest());
  await stream.accepted;
  const drained = fixture.relay.drain({ deadlineMs: 10_000, signal: new AbortController().signal });
  await vi.waitUntil(() => cli.state === "draining" && tunnel.state === "draining", { timeout: 30_000 });
  await expect(dialCli(fixture, await opsToken(fixture))).rejects.toMatchObject({ code: "CC_DRAINING" });
  await expect(dialAgent(fixture, agent)).rejects.toMatchObject({ code: "CC_DRAINING" });
  expect(() => cli.open(openRequest())).toThrow(expect.objectContaining({ code: "CC_DRAINING" }));
  stream.end();
  stream.resume();
  await drained;
  await expect(cli.closed).resolves.toMatchObject({ by: "peer" });
  expect((await fetch(new URL("/readyz", fixture.url))).status).toBe(503);
});

test("codes are long enough not to be guessed", () => {
  expect(mintEnrollmentCode().code.length).toBeGreaterThanOrEqual(32);
});
