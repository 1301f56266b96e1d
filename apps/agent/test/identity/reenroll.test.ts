import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { SYSTEM_CLOCK } from "@cluster-connect/base";
import { createMemoryLogger } from "@cluster-connect/service/testing";
import { expect, test, vi } from "vitest";
import type { AgentConfig } from "../../src/config.ts";
import { enrollAgain, ensureIdentity } from "../../src/identity/enroll.ts";
import { createReenrollment } from "../../src/identity/reenroll.ts";
import { type Identity, readIdentity } from "../../src/identity/state-folder.ts";
import { configFor, startTestAgent } from "../support/fixture.ts";
import { startTestRelay, type TestRelay } from "../support/test-relay.ts";

const signal = new AbortController().signal;
const CODE_REFUSED = { status: 403, body: { code: "CC_ENROLLMENT_CODE_INVALID", message: "Wrong, used or expired" } };

interface Stage {
  readonly relay: TestRelay;
  readonly config: AgentConfig;
  readonly former: Identity;
}

/** An agent that was enrolled; `code` is what its settings say now. */
async function stage(change: Partial<AgentConfig> = {}): Promise<Stage> {
  const relay = await startTestRelay();
  const enrolled = await configFor(relay);
  const former = await ensureIdentity(enrolled, { ca: undefined, signal }, deps());
  return { relay, former, config: { ...enrolled, code: "cc1-second", ...change } };
}

function deps() {
  return { env: {}, log: createMemoryLogger(), clock: SYSTEM_CLOCK, random: () => 0.01 };
}

const keyIdOf = async ({ stateDir }: AgentConfig): Promise<string | undefined> =>
  (await readIdentity(stateDir))?.key.keyId;

test("an agent whose key is revoked while it runs comes back with a fresh one, by the code it has", async () => {
  const { relay, config, former } = await stage();
  const { log } = await startTestAgent(config, { keyWatch: { intervalMs: 20 } });
  const session = await relay.nextSession();
  relay.behaviour.revoke(former.key.keyId);
  session.close("CC_AGENT_KEY_REFUSED", "The agent's key was revoked");
  await relay.nextSession();
  const next = await readIdentity(config.stateDir);
  expect(next?.clusterId).toBe("prod");
  expect(next?.key.keyId).not.toBe(former.key.keyId);
  expect(relay.hellos.at(-1)?.agent).toMatchObject({ clusterId: "prod", keyId: next?.key.keyId });
  expect(relay.enrollments.at(-1)).toMatchObject({ code: "cc1-second", clusterId: "prod" });
  expect(await readdir(config.stateDir)).not.toContain("agent-key.next.pem");
  const told = log.lines.filter(({ event }) => event === "key.refused" || event === "agent.enrolled");
  expect(told).toMatchObject([
    { event: "key.refused", level: "warn", keyId: former.key.keyId },
    { event: "agent.enrolled", keyId: next?.key.keyId, formerKeyId: former.key.keyId },
  ]);
});

test("a code that is refused is tried once, and the former key stays; another code in the file is tried", async () => {
  const { relay, config, former } = await stage();
  const codeFile = `${config.authProxy.authoritiesFile}.code`;
  await writeFile(codeFile, "cc1-used");
  const { enroll } = relay.behaviour;
  relay.behaviour.enroll = () => CODE_REFUSED;
  relay.behaviour.revoke(former.key.keyId);
  const { code: _, ...rest } = config;
  const { log } = await startTestAgent({ ...rest, codeFile }, { keyWatch: { intervalMs: 20 } });
  await expect(log.once("enrollment.failed")).resolves.toMatchObject({ code: "CC_ENROLLMENT_CODE_INVALID" });
  const refusals = () => log.lines.filter(({ event }) => event === "tunnel.closed").length;
  await vi.waitUntil(() => refusals() > 3, { timeout: 30_000 });
  expect(relay.enrollments.filter(({ code }) => code === "cc1-used")).toHaveLength(1);
  expect(await keyIdOf(config)).toBe(former.key.keyId);
  relay.behaviour.enroll = enroll;
  await writeFile(codeFile, "cc1-fresh");
  await relay.nextSession();
  expect(await keyIdOf(config)).not.toBe(former.key.keyId);
});

test("an agent without a code asks for nothing, and is let in when the key is", async () => {
  const { relay, config } = await stage({ code: undefined });
  relay.behaviour.acceptProof = false;
  const { log } = await startTestAgent(config);
  await log.once("tunnel.closed");
  relay.behaviour.acceptProof = true;
  await relay.nextSession();
  expect(relay.enrollments).toHaveLength(1);
  expect(relay.rotations).toEqual([]);
});

test("the code is kept while the key itself is good, whatever else keeps the agent out", async () => {
  const { relay, config, former } = await stage();
  relay.behaviour.acceptProof = false;
  const { log } = await startTestAgent(config);
  await vi.waitUntil(() => relay.rotations.length > 0, { timeout: 30_000 });
  await log.once("tunnel.closed");
  relay.behaviour.acceptProof = true;
  await relay.nextSession();
  expect(relay.enrollments).toHaveLength(1);
  expect(await keyIdOf(config)).toBe(former.key.keyId);
});

test("an answer that was lost is asked for again with the same key, also by the next process", async () => {
  const { relay, config, former } = await stage();
  relay.behaviour.revoke(former.key.keyId);
  const { enroll } = relay.behaviour;
  relay.behaviour.enroll = (body) => {
    enroll(body);
    return { status: 404, body: "lost" };
  };
  const again = () => enrollAgain(former, config, { code: "cc1-second", ca: undefined, signal }, deps());
  await expect(again()).rejects.toMatchObject({ code: "CC_RELAY_REFUSED" });
  expect(await keyIdOf(config)).toBe(former.key.keyId);
  const kept = await readFile(join(config.stateDir, "agent-key.next.pem"), "utf8");
  relay.behaviour.enroll = enroll;
  await expect(again()).resolves.toMatchObject({ key: { privateKeyPem: kept } });
  const [, lost, taken] = relay.enrollments;
  expect(taken?.publicKey).toBe(lost?.publicKey);
});

test("a code for another cluster changes nothing", async () => {
  const { relay, config, former } = await stage();
  relay.behaviour.revoke(former.key.keyId);
  const { enroll } = relay.behaviour;
  relay.behaviour.enroll = (body) => {
    const answer = enroll(body);
    return { ...answer, body: { ...Object(answer.body), clusterId: "other" } };
  };
  const again = enrollAgain(former, config, { code: "cc1-second", ca: undefined, signal }, deps());
  await expect(again).rejects.toMatchObject({
    code: "CC_ENROLLMENT_CODE_INVALID",
    message: "The code is for the cluster other, this one is prod",
  });
  expect(await readIdentity(config.stateDir)).toEqual(former);
});

test("a tunnel by the former key that is refused once more spends no second code", async () => {
  const { relay, config, former } = await stage();
  const log = createMemoryLogger();
  const reenrollment = createReenrollment(config, { ca: undefined, signal }, { ...deps(), log });
  relay.behaviour.revoke(former.key.keyId);
  reenrollment.refused(former);
  await reenrollment.idle();
  const next = await keyIdOf(config);
  expect(next).not.toBe(former.key.keyId);
  reenrollment.refused(former);
  await reenrollment.idle();
  expect(await keyIdOf(config)).toBe(next);
  expect(relay.enrollments.filter(({ code }) => code === "cc1-second")).toHaveLength(1);
  expect(await readdir(config.stateDir)).not.toContain("agent-key.next.pem");
  expect(log.lines.filter(({ event }) => event === "enrollment.failed")).toEqual([]);
});
