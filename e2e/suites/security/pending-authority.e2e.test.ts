import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { ERRORS } from "@cluster-connect/protocol";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { freePort } from "../../src/process/free-port.ts";
import type { Cli } from "../../src/stack/cli.ts";
import { type Copy, useSink } from "../support/relays/sink-scene.ts";

/** An agent's key was copied to a machine with a cluster and an authority of its own. */
const scene = useSink();
let viewer: Cli;
let admin: Cli;
let copy: Copy & { readonly fingerprint: string };

beforeAll(async () => {
  viewer = await scene().cli("jane");
  admin = await scene().cli("root", { group: "admins" });
  expect(await viewer.run(["run", "-n", "sink", "--", "true"])).toMatchObject({ code: 0 });
  const started = await scene().startCopy();
  const { fingerprint256: fingerprint } = new X509Certificate(await readFile(started.caFile));
  copy = { ...started, fingerprint };
});

interface Listed {
  readonly pendingFingerprint: string | null;
  readonly agents: readonly unknown[];
}

async function listed(cli: Cli): Promise<Listed | undefined> {
  const { stdout } = await cli.run(["clusters", "-o", "json"]);
  const { clusters }: { readonly clusters: readonly Listed[] } = JSON.parse(stdout);
  return clusters[0];
}

/** The copy announces its authority again with each tunnel. */
async function announceAgain(): Promise<void> {
  await copy.agent.stop();
  await copy.agent.start();
  await expect.poll(async () => (await listed(viewer))?.pendingFingerprint).toBe(copy.fingerprint);
}

test("callers stay on the accepted authority and hear why another one does not count", async () => {
  await expect
    .poll(async () => await listed(viewer))
    .toMatchObject({
      pendingFingerprint: copy.fingerprint,
      agents: [expect.anything(), expect.anything()],
    });
  for (let asked = 0; asked < 6; asked += 1) {
    expect(await viewer.run(["run", "-n", "sink", "--", "true"])).toMatchObject({
      code: 0,
      stderr: expect.stringContaining(`announces another authority, SHA-256 ${copy.fingerprint}`),
    });
  }
  expect(copy.connections()).toBe(0);
  for (const format of ["table", "json", "yaml", "name"]) {
    const { stderr } = await viewer.run(["clusters", "-o", format]);
    expect(stderr).toContain(`cluster-connect admin clusters accept sink --fingerprint ${copy.fingerprint}`);
  }
  const doctor = await viewer.run(["doctor", "-n", "sink", "--idle-seconds", "0"]);
  expect(doctor.stdout).toMatch(/^warn {2}sink: trust .*It waits/m);
  const late = await viewer.proxy(["sink"]);
  onTestFinished(() => late.stop());
  expect(await late.screen()).toContain(copy.fingerprint);
});

test("without the true agent commands stop at the other certificate, with the reason", async () => {
  const { agent } = scene();
  await agent.stop();
  onTestFinished(() => agent.start());
  await expect.poll(async () => (await listed(viewer))?.agents).toHaveLength(1);
  const added = await viewer.run(["kubeconfig", "add", "-n", "sink", "-f", "kept"]);
  expect(added).toMatchObject({ code: 0 });
  const commands = [
    ["run", "-n", "sink", "--wait", "1s", "--", "true"],
    ["proxy", "-n", "sink", "--port", "0", "-f", "-", "--wait", "1s"],
    ["credential", "-n", "sink", "--port", String(await freePort())],
    ["explain", "-n", "sink"],
  ];
  for (const command of commands) {
    const done = await viewer.run(command);
    expect([command[0], done.code]).toEqual([command[0], ERRORS.CC_CLUSTER_CA_CHANGED.exit]);
    expect(done.stderr).toContain(`another authority, SHA-256 ${copy.fingerprint}. It waits for an administrator`);
    expect(done.stderr).toContain("the agent's key may be stolen");
  }
  expect(copy.connections()).toBe(0);
});

test("an administrator sees it and refuses it; a caller may not", async () => {
  const decide = (cli: Cli, verb: string) =>
    cli.run(["admin", "clusters", verb, "sink", "--fingerprint", copy.fingerprint]);
  const shown = await admin.run(["admin", "clusters", "show", "sink"]);
  expect(shown.stdout).toContain(`waiting     SHA-256 ${copy.fingerprint}, since `);
  expect((await admin.run(["admin", "clusters", "list"])).stdout).toContain("another authority waits");
  expect(await decide(viewer, "accept")).toMatchObject({ code: ERRORS.CC_ADMIN_REQUIRED.exit });
  expect(await decide(admin, "refuse")).toMatchObject({ code: 0 });
  expect(await listed(viewer)).toMatchObject({ pendingFingerprint: null });
  expect(await decide(admin, "accept")).toMatchObject({ code: ERRORS.CC_USAGE.exit });
});

test("an accepted one counts from then on, and stops callers who trust the former one", async () => {
  await announceAgain();
  const words = ["admin", "clusters", "accept", "sink", "--fingerprint", copy.fingerprint];
  expect(await admin.run(words)).toMatchObject({ code: 0 });
  const run = ["run", "-n", "sink", "--", "true"];
  expect(await viewer.run(run)).toMatchObject({ code: ERRORS.CC_CLUSTER_CA_CHANGED.exit });
  const other = await scene().cli("joe", { caFile: copy.caFile });
  await expect.poll(async () => (await other.run(run)).code).toBe(0);
  expect(copy.connections()).toBeGreaterThan(0);
});
