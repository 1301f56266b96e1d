import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseAgentPublicKey, verifyChallenge } from "@cluster-connect/auth";
import { SYSTEM_CLOCK } from "@cluster-connect/base";
import { keyRotationInput, parseClusterId, parseKeyId } from "@cluster-connect/protocol";
import { createMemoryLogger } from "@cluster-connect/service/testing";
import { expect, test } from "vitest";
import { ensureIdentity } from "../../src/identity/enroll.ts";
import { rotateKey } from "../../src/identity/rotate.ts";
import { readIdentity } from "../../src/identity/state-folder.ts";
import { configFor, startTestAgent } from "../support/fixture.ts";
import { startTestRelay } from "../support/test-relay.ts";

const signal = new AbortController().signal;
const deps = () => ({ env: {}, log: createMemoryLogger(), clock: SYSTEM_CLOCK, random: () => 0.01 });

test("a rotation shows the relay both signatures and puts the new key in the place of the former", async () => {
  const relay = await startTestRelay();
  const config = await configFor(relay);
  const before = await ensureIdentity(config, { ca: undefined, signal }, deps());
  const after = await rotateKey(config, { ca: undefined, signal }, deps());
  expect(after.clusterId).toBe(before.clusterId);
  expect(after.key.keyId).not.toBe(before.key.keyId);
  await expect(readIdentity(config.stateDir)).resolves.toEqual(after);
  const [request] = relay.rotations;
  if (request === undefined) throw new Error("the relay was not asked");
  const input = keyRotationInput({
    authority: relay.url.host,
    clusterId: parseClusterId("prod"),
    at: request.at,
    keyId: parseKeyId(request.keyId),
    newKeyId: parseAgentPublicKey(request.publicKey).keyId,
  });
  expect(request.keyId).toBe(before.key.keyId);
  verifyChallenge(before.key, input, request.signature);
  verifyChallenge(after.key, input, request.newSignature);
});

test("a rotation that ends between its two files leaves the former key in force", async () => {
  const relay = await startTestRelay();
  const config = await configFor(relay);
  const before = await ensureIdentity(config, { ca: undefined, signal }, deps());
  await rotateKey(config, { ca: undefined, signal }, deps());
  await writeFile(join(config.stateDir, "agent-key.pem"), before.key.privateKeyPem);
  await expect(readIdentity(config.stateDir)).resolves.toEqual(before);
});

test("without an enrolled key there is nothing to rotate", async () => {
  const config = await configFor(await startTestRelay());
  await expect(rotateKey(config, { ca: undefined, signal }, deps())).rejects.toMatchObject({ code: "CC_FILE_MISSING" });
});

test("an agent that runs opens a tunnel by the new key before the one by the former drains", async () => {
  const relay = await startTestRelay();
  const config = await configFor(relay);
  const { log, health } = await startTestAgent(config, { keyWatch: { intervalMs: 50 } });
  const first = await relay.nextSession();
  await rotateKey(config, { ca: undefined, signal }, deps());
  const second = await relay.nextSession();
  await log.once("key.changed");
  await first.closed;
  expect(second.state).toBe("open");
  await expect(health.ready()).resolves.toMatchObject({ ok: true });
  const keys = relay.hellos.map(({ agent }) => agent?.keyId);
  expect(new Set(keys).size).toBe(2);
  const enrolled = JSON.parse(await readFile(join(config.stateDir, "enrolled.json"), "utf8"));
  expect(enrolled.keyId).toBe(keys[1]);
});
