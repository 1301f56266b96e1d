import { EventEmitter } from "node:events";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createMemoryLogSink } from "@cluster-connect/service/testing";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { readIdentity } from "../../src/identity/state-folder.ts";
import { run } from "../../src/run.ts";
import { configFor } from "../support/fixture.ts";
import { startTestRelay } from "../support/test-relay.ts";

async function prepare() {
  const relay = await startTestRelay();
  const { authProxy } = await configFor(relay);
  const folder = await temporaryFolder();
  const file = join(folder, "agent.yaml");
  const settings = {
    relay: { urls: [relay.url.origin] },
    code: "cc1-test",
    stateDir: join(folder, "state"),
    authProxy: {
      address: authProxy.address.kind === "socket" ? authProxy.address.path : "",
      healthUrl: authProxy.healthUrl.href,
      authoritiesFile: authProxy.authoritiesFile,
    },
    log: { level: "error" },
  };
  await writeFile(file, JSON.stringify(settings));
  const lines: string[] = [];
  const write = (line: string): void => void lines.push(line);
  const enroll = (env: Readonly<Record<string, string>> = {}): Promise<number> =>
    run(["enroll", "--config", file], {
      env,
      signals: new EventEmitter(),
      logs: createMemoryLogSink(),
      stdout: write,
      stderr: write,
    });
  return { relay, folder, lines, enroll };
}

test("enroll writes key and enrollment and ends; a second time it asks only whether the key is good", async () => {
  const { relay, folder, lines, enroll } = await prepare();
  expect(await enroll({ CC_CLUSTER_ID: "prod" })).toBe(0);
  expect((await readdir(join(folder, "state"))).sort()).toEqual(["agent-key.pem", "enrolled.json"]);
  expect(await enroll()).toBe(0);
  expect(lines).toEqual(["Enrolled as prod.", "Enrolled as prod."]);
  expect(relay.enrollments).toHaveLength(1);
  expect(relay.rotations).toMatchObject([{ publicKey: relay.enrollments[0]?.publicKey }]);
});

test("a code for another cluster is refused, and both names are told", async () => {
  const { lines, enroll } = await prepare();
  expect(await enroll({ CC_CLUSTER_ID: "staging" })).not.toBe(0);
  expect(lines.join("\n")).toContain("The code is for the cluster prod, this one is called staging");
});

test("enroll lets a fresh key in where the relay does not take the former one any more", async () => {
  const { relay, folder, lines, enroll } = await prepare();
  await enroll();
  const read = (): Promise<unknown> => readIdentity(join(folder, "state"));
  const former = await readIdentity(join(folder, "state"));
  relay.behaviour.revoke(former?.key.keyId ?? "");
  const { enroll: answer } = relay.behaviour;
  relay.behaviour.enroll = () => ({ status: 403, body: { code: "CC_ENROLLMENT_CODE_INVALID", message: "Used" } });
  expect(await enroll()).not.toBe(0);
  expect(await read()).toEqual(former);
  relay.behaviour.enroll = answer;
  expect(await enroll()).toBe(0);
  expect(lines.at(-1)).toBe("Enrolled as prod.");
  expect(await read()).not.toEqual(former);
  expect((await readdir(join(folder, "state"))).sort()).toEqual(["agent-key.pem", "enrolled.json"]);
});
