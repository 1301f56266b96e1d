import { readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { SYSTEM_CLOCK, wait } from "@cluster-connect/base";
import { parseClusterId } from "@cluster-connect/protocol";
import { createMemoryLogger } from "@cluster-connect/service/testing";
import { expect, test } from "vitest";
import { ensureIdentity } from "../../src/identity/enroll.ts";
import { loadOrCreateKey } from "../../src/identity/state-folder.ts";
import { configFor } from "../support/fixture.ts";
import { startTestRelay } from "../support/test-relay.ts";

const signal = new AbortController().signal;

function deps() {
  return { env: {}, log: createMemoryLogger(), clock: SYSTEM_CLOCK, random: () => 0.01 };
}

test("the first start enrolls with the code; the next ones keep key and cluster without asking", async () => {
  const relay = await startTestRelay();
  const config = await configFor(relay);
  const first = await ensureIdentity(config, { ca: undefined, signal }, deps());
  expect(first.clusterId).toBe("prod");
  expect(relay.enrollments).toEqual([
    {
      code: "cc1-test",
      publicKey: first.key.publicKey,
      clusterAuthorities: await readFile(config.authProxy.authoritiesFile, "utf8"),
    },
  ]);
  const second = await ensureIdentity({ ...config, code: undefined }, { ca: undefined, signal }, deps());
  expect(second).toEqual(first);
  expect(relay.enrollments).toHaveLength(1);
});

test("the private key is for its owner alone, and never leaves", async () => {
  const relay = await startTestRelay();
  const config = await configFor(relay);
  const log = createMemoryLogger();
  const { key } = await ensureIdentity(config, { ca: undefined, signal }, { ...deps(), log });
  const file = join(config.stateDir, "agent-key.pem");
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect((await stat(config.stateDir)).mode & 0o777).toBe(0o700);
  const secret = key.privateKeyPem.split("\n")[1] ?? "";
  expect(await readFile(file, "utf8")).toContain(secret);
  expect(JSON.stringify([relay.enrollments, log.lines])).not.toContain(secret);
});

test("the code may be in a file", async () => {
  const relay = await startTestRelay();
  const config = await configFor(relay);
  const codeFile = `${config.authProxy.authoritiesFile}.code`;
  await writeFile(codeFile, "cc1-from-file\n");
  await ensureIdentity({ ...config, code: undefined, codeFile }, { ca: undefined, signal }, deps());
  expect(relay.enrollments[0]?.code).toBe("cc1-from-file");
});

test("a relay that cannot be reached, or whose proxy answers for it, is tried again", async () => {
  const relay = await startTestRelay();
  const config = await configFor(relay);
  const { enroll } = relay.behaviour;
  relay.behaviour.enroll = () => ({ status: 502, body: "bad gateway" });
  const log = createMemoryLogger();
  await relay.stop();
  const identity = ensureIdentity(config, { ca: undefined, signal }, { ...deps(), log });
  await expect(log.once("enrollment.retry")).resolves.toMatchObject({ code: "CC_RELAY_UNREACHABLE" });
  await relay.start();
  while (relay.enrollments.length === 0) await wait(5, { signal }, { clock: SYSTEM_CLOCK });
  relay.behaviour.enroll = enroll;
  await expect(identity).resolves.toMatchObject({ clusterId: "prod" });
});

test.each([429, 408, 520])("an answer of status %i from what stands before the relay passes", async (status) => {
  const relay = await startTestRelay();
  const config = await configFor(relay);
  const { enroll } = relay.behaviour;
  relay.behaviour.enroll = () => {
    relay.behaviour.enroll = enroll;
    return { status, body: "later" };
  };
  await expect(ensureIdentity(config, { ca: undefined, signal }, deps())).resolves.toMatchObject({ clusterId: "prod" });
  expect(relay.enrollments).toHaveLength(2);
});

test("a refused code is final, with the relay's own words", async () => {
  const relay = await startTestRelay();
  relay.behaviour.enroll = () => ({
    status: 403,
    body: {
      code: "CC_ENROLLMENT_CODE_INVALID",
      message: "The enrollment code is wrong, used or expired",
      hint: "Ask.",
    },
  });
  const config = await configFor(relay);
  await expect(ensureIdentity(config, { ca: undefined, signal }, deps())).rejects.toMatchObject({
    code: "CC_ENROLLMENT_CODE_INVALID",
    message: "The enrollment code is wrong, used or expired",
    hint: "Ask.",
  });
});

test("an answer that is not a relay's is final", async () => {
  const relay = await startTestRelay();
  const config = await configFor(relay);
  for (const answer of [
    { status: 404, body: "nothing here" },
    { status: 501, body: "not known" },
    { status: 200, body: { hello: "world" } },
  ]) {
    relay.behaviour.enroll = () => answer;
    await expect(ensureIdentity(config, { ca: undefined, signal }, deps())).rejects.toMatchObject({
      code: "CC_RELAY_REFUSED",
    });
  }
});

test("without a code an agent that is not enrolled says what it needs", async () => {
  const relay = await startTestRelay();
  const config = await configFor(relay, { code: undefined });
  await expect(ensureIdentity(config, { ca: undefined, signal }, deps())).rejects.toMatchObject({
    code: "CC_ENROLLMENT_CODE_INVALID",
    message: expect.stringContaining("codeFile"),
  });
});

test("the auth proxy's authorities are waited for, and the log says so", async () => {
  const relay = await startTestRelay();
  const config = await configFor(relay);
  const pem = await readFile(config.authProxy.authoritiesFile, "utf8");
  await rm(config.authProxy.authoritiesFile);
  const log = createMemoryLogger();
  const identity = ensureIdentity(config, { ca: undefined, signal }, { ...deps(), log });
  await log.once("authorities.waiting");
  await writeFile(config.authProxy.authoritiesFile, pem);
  await expect(identity).resolves.toMatchObject({ clusterId: "prod" });
});

test("a key file that holds no key is named and not replaced", async () => {
  const relay = await startTestRelay();
  const config = await configFor(relay);
  await loadOrCreateKey(config.stateDir);
  const file = join(config.stateDir, "agent-key.pem");
  await writeFile(file, "hunter2");
  await expect(loadOrCreateKey(config.stateDir)).rejects.toMatchObject({
    code: "CC_FILE_UNREADABLE",
    message: `${file} holds no agent key`,
  });
  expect(await readFile(file, "utf8")).toBe("hunter2");
});

test("a new key is enrolled anew, whatever the old one was enrolled for", async () => {
  const relay = await startTestRelay();
  const config = await configFor(relay);
  const first = await ensureIdentity(config, { ca: undefined, signal }, deps());
  await rm(join(config.stateDir, "agent-key.pem"));
  const second = await ensureIdentity(config, { ca: undefined, signal }, deps());
  expect(second.key.keyId).not.toBe(first.key.keyId);
  expect(relay.enrollments).toHaveLength(2);
});

test("giving up ends the wait", async () => {
  const relay = await startTestRelay();
  const config = await configFor(relay);
  await relay.stop();
  const stop = new AbortController();
  const log = createMemoryLogger();
  const identity = ensureIdentity(
    config,
    { ca: undefined, signal: stop.signal },
    { ...deps(), random: () => 0.99, log },
  );
  await log.once("enrollment.retry");
  stop.abort();
  await expect(identity).rejects.toThrow();
});

test("a key that the relay knows already needs no code, only the cluster's name", async () => {
  const relay = await startTestRelay();
  const config = { ...(await configFor(relay)), code: undefined, knownAs: parseClusterId("prod") };
  const key = await loadOrCreateKey(config.stateDir);
  await expect(ensureIdentity(config, { ca: undefined, signal }, deps())).resolves.toEqual({ key, clusterId: "prod" });
  expect(relay.enrollments).toEqual([]);
});
