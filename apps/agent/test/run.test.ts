import { EventEmitter } from "node:events";
import { readdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { createMemoryLogSink } from "@cluster-connect/service/testing";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { run } from "../src/run.ts";
import { configFor } from "./support/fixture.ts";
import { startTestRelay, type TestRelay } from "./support/test-relay.ts";

function start(argv: readonly string[]) {
  const out: string[] = [];
  const err: string[] = [];
  const signals = new EventEmitter();
  const exit = run(argv, {
    env: {},
    signals,
    stdout: (line) => void out.push(line),
    stderr: (line) => void err.push(line),
    logs: createMemoryLogSink(),
  });
  return { exit, signals, out, err };
}

async function settings(relay: Pick<TestRelay, "url">, change = ""): Promise<string> {
  const { authProxy } = await configFor(relay);
  const folder = await temporaryFolder();
  const file = join(folder, "agent.yaml");
  const address = authProxy.address.kind === "socket" ? authProxy.address.path : "";
  await writeFile(
    file,
    `
relay: { urls: ["${relay.url.origin}"] }
code: cc1-test
stateDir: ${folder}/state
authProxy: { address: ${address}, healthUrl: "${authProxy.healthUrl}", authoritiesFile: ${authProxy.authoritiesFile} }
log: { level: error }
${change}`,
  );
  return file;
}

test("an agent serves until it is told to stop, and ends with 0", async () => {
  const relay = await startTestRelay();
  const { exit, signals } = start(["--config", await settings(relay, "health: { port: 0 }")]);
  const session = await relay.nextSession();
  signals.emit("SIGTERM");
  await expect(exit).resolves.toBe(0);
  await session.closed;
});

test("told to stop while it still waits for its relay it ends with 0", async () => {
  const relay = await startTestRelay();
  const file = await settings(relay);
  await relay.stop();
  const { exit, signals, err } = start(["--config", file]);
  signals.once("newListener", () => setImmediate(() => signals.emit("SIGINT")));
  await expect(exit).resolves.toBe(0);
  expect(err).toEqual([]);
});

test("a refused code ends it with the code's exit number and the relay's hint", async () => {
  const relay = await startTestRelay();
  relay.behaviour.enroll = () => ({
    status: 403,
    body: {
      code: "CC_ENROLLMENT_CODE_INVALID",
      message: "The enrollment code is wrong, used or expired",
      hint: "Ask.",
    },
  });
  const { exit, err } = start(["--config", await settings(relay)]);
  await expect(exit).resolves.toBe(50);
  expect(err).toEqual([
    "error: The enrollment code is wrong, used or expired (CC_ENROLLMENT_CODE_INVALID)\nhint: Ask.",
  ]);
});

test("settings are checked without a start", async () => {
  const relay = await startTestRelay();
  await expect(start(["--check-config", "--config", await settings(relay)]).exit).resolves.toBe(0);
  await expect(start(["--check-config", "--config", await settings(relay, "x: 1")]).exit).resolves.toBe(60);
  expect(relay.enrollments).toEqual([]);
});

test.each([["enroll"], ["rotate"], ["secret", "write"]])("to ask what %s does is not to do it", async (...words) => {
  const { exit, out } = start([...words, "--help"]);
  await expect(exit).resolves.toBe(0);
  expect(out.join()).toMatch(/^Usage: /);
});

test.each(["enroll", "rotate"])("%s --check-config checks the settings and nothing more", async (command) => {
  const relay = await startTestRelay();
  const file = await settings(relay);
  const { exit, out, err } = start([command, "--config", file, "--check-config"]);
  await expect(exit).resolves.toBe(0);
  expect({ out, err }).toEqual({ out: [], err: ["The settings are valid."] });
  expect(await readdir(dirname(file))).toEqual(["agent.yaml"]);
});

test("help, version and a wrong flag", async () => {
  const help = start(["--help"]);
  await expect(help.exit).resolves.toBe(0);
  expect(help.out.join()).toContain("--check-config");
  const version = start(["--version"]);
  await version.exit;
  expect(version.out.join()).toMatch(/^cluster-connect-agent\/\d/);
  await expect(start(["--loud"]).exit).resolves.toBe(2);
});
