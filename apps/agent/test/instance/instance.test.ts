import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { instanceIdOf } from "@cluster-connect/auth";
import { createFakeClock } from "@cluster-connect/framing/testing";
import { MAX_FOLLOWED, parseSecret } from "@cluster-connect/protocol";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, onTestFinished, test } from "vitest";
import { type AgentInstance, recordInstance } from "../../src/instance/instance.ts";

const GRACE_MS = 60_000;
const MAIN = new URL("./record-and-wait.ts", import.meta.url).pathname;

async function started(dir: string): Promise<{ readonly child: ChildProcess; readonly instanceId: string }> {
  const child = spawn(process.execPath, ["--conditions=source", MAIN, dir], { stdio: ["ignore", "pipe", "inherit"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  const [line] = await once(child.stdout, "data");
  const { instanceId } = JSON.parse(String(line)) as { readonly instanceId: string };
  return { child, instanceId };
}

async function kill(child: ChildProcess): Promise<void> {
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await ended;
}

async function record(dir: string): Promise<AgentInstance> {
  const instance = await recordInstance({ dir, graceMs: GRACE_MS });
  onTestFinished(() => instance.leave());
  return instance;
}

const idsOf = ({ follows }: AgentInstance): readonly string[] => follows.map(instanceIdOf);

test("a process follows one that was killed in its folder, and none that lives, even stopped", async () => {
  const dir = await temporaryFolder();
  const [killed, living] = [await started(dir), await started(dir)];
  await kill(killed.child);
  living.child.kill("SIGSTOP");
  expect(idsOf(await record(dir))).toEqual([killed.instanceId]);
  living.child.kill("SIGCONT");
  await kill(living.child);
  expect(new Set(idsOf(await record(dir)))).toEqual(new Set([killed.instanceId, living.instanceId]));
});

test("a process that left by itself is followed by none, and leaves nothing behind", async () => {
  const dir = await temporaryFolder();
  const first = await recordInstance({ dir, graceMs: GRACE_MS });
  expect(await readdir(dir)).toHaveLength(2);
  await first.leave();
  expect(await readdir(dir)).toEqual([]);
  expect((await record(dir)).follows).toEqual([]);
});

/** A record as a process that was killed leaves it. */
async function leaveRecord(dir: string, change: Readonly<Record<string, unknown>> = {}, id?: string): Promise<string> {
  const secret = parseSecret(randomBytes(32).toString("base64url"));
  const own = id ?? instanceIdOf(secret);
  await writeFile(join(dir, `instance-${own}.json`), JSON.stringify({ secret, host: hostname(), ...change }));
  return own;
}

test("records of another machine, under another's id, and that are none are left alone", async () => {
  const dir = await temporaryFolder();
  const killed = await leaveRecord(dir);
  await leaveRecord(dir, { host: "another-machine" });
  await leaveRecord(dir, {}, "A".repeat(22));
  await leaveRecord(dir, { secret: "short" });
  await writeFile(join(dir, `instance-${"B".repeat(22)}.json`), "no JSON");
  expect(idsOf(await record(dir))).toEqual([killed]);
});

test("eight that were killed are followed; of nine the oldest is not, and its record goes", async () => {
  const dir = await temporaryFolder();
  for (let count = 0; count < MAX_FOLLOWED; count += 1) await leaveRecord(dir);
  const first = await recordInstance({ dir, graceMs: GRACE_MS });
  expect(first.follows).toHaveLength(MAX_FOLLOWED);
  await first.leave();
  for (let count = 0; count < MAX_FOLLOWED + 1; count += 1) await leaveRecord(dir);
  expect((await record(dir)).follows).toHaveLength(MAX_FOLLOWED);
  expect((await readdir(dir)).filter((name) => name.endsWith(".json"))).toHaveLength(MAX_FOLLOWED + 1);
});

test("the killed ones are forgotten once no stream of theirs is waited for", async () => {
  const dir = await temporaryFolder();
  await leaveRecord(dir);
  const clock = createFakeClock();
  const deps = { random: randomBytes, hostname, clock };
  const instance = await recordInstance({ dir, graceMs: GRACE_MS }, deps);
  onTestFinished(() => instance.leave());
  await clock.advance(GRACE_MS - 1);
  expect(instance.follows).toHaveLength(1);
  await clock.advance(1);
  expect(instance.follows).toEqual([]);
  await expect.poll(async () => (await readdir(dir)).filter((name) => name.endsWith(".json"))).toHaveLength(1);
});

test("only its user reads the record", async () => {
  const dir = await temporaryFolder();
  const { instanceId } = await record(dir);
  const file = join(dir, `instance-${instanceId}.json`);
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect(await readFile(file, "utf8")).toContain("secret");
});

test("a folder that cannot be made records nothing and says why", async () => {
  const file = join(await temporaryFolder(), "file");
  await writeFile(file, "");
  const instance = await recordInstance({ dir: join(file, "below"), graceMs: GRACE_MS });
  expect(instance).toMatchObject({ follows: [], unrecorded: "ENOTDIR" });
  await instance.leave();
});
