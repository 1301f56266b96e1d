import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile, rm } from "node:fs/promises";
import { type NetworkInterfaceInfo, networkInterfaces } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeEach, expect, test } from "vitest";
import { pollUntil } from "../../src/process/poll.ts";
import { notLocal } from "../support/provider.ts";

const OWNER: string = fileURLToPath(new URL("./support/node-owner.ts", import.meta.url));
const WAIT_MS = 60_000;
/** Several programs and control groups, and an interface. */
const MIN_TRACES = 5;

beforeEach(({ skip }) => skip(notLocal !== undefined, notLocal));

interface Owner {
  readonly child: ChildProcess;
  readonly keeper: number;
  readonly folder: string;
  /** Hardware address of the host's interface to the node; a name may be another node's soon. */
  readonly mac: string;
}

const field = (message: unknown, name: string): unknown =>
  typeof message === "object" && message !== null
    ? Object.entries(message).find(([key]) => key === name)?.[1]
    : undefined;

/** Starts a node; others may run beside it. */
async function startOwner(): Promise<Owner> {
  const child = fork(OWNER, [], { execArgv: ["--conditions=source"] });
  const [message]: readonly unknown[] = await once(child, "message");
  const address = String(field(message, "address"));
  const { mac } = interfaces().find((one) => one.address === address) ?? expect.fail(`no interface has ${address}`);
  const owner = { child, keeper: Number(field(message, "keeper")), folder: String(field(message, "folder")), mac };
  expect((await leftBehind(owner)).length).toBeGreaterThan(MIN_TRACES);
  return owner;
}

const interfaces = (): readonly NetworkInterfaceInfo[] =>
  Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);

/** Command lines of the processes that name a folder, and mounts, control groups and interfaces of a node. */
async function leftBehind({ keeper, folder, mac }: Owner): Promise<readonly string[]> {
  const found: string[] = [];
  for (const pid of await readdir("/proc")) {
    const command = /^\d+$/.test(pid) ? await readFile(`/proc/${pid}/cmdline`, "latin1").catch(() => "") : "";
    if (command.includes(folder)) found.push(command.replaceAll("\0", " "));
  }
  const mounts = (await readFile("/proc/self/mounts", "utf8")).split("\n").map((line) => line.split(" "));
  for (const [, path = "", type = ""] of mounts) {
    if (path.startsWith(folder)) found.push(path);
    if (!type.startsWith("cgroup")) continue;
    const groups = await readdir(path);
    found.push(...groups.filter((name) => name.startsWith(`cluster-connect-node-${keeper}-`)));
  }
  return [...found, ...interfaces().flatMap((one) => (one.mac === mac ? [mac] : []))];
}

async function expectNothing(owner: Owner): Promise<void> {
  let last: readonly string[] = [];
  const nothing = pollUntil(
    async () => {
      last = await leftBehind(owner);
      return last.length === 0 ? true : undefined;
    },
    { signal: AbortSignal.timeout(WAIT_MS) },
  );
  await nothing.catch(() => expect(last).toEqual([]));
}

test("a node that is stopped leaves no process, control group or interface", async () => {
  const owner = await startOwner();
  owner.child.send("stop");
  await once(owner.child, "message");
  expect((await leftBehind(owner)).filter((line) => !line.includes("node-owner"))).toEqual([]);
  owner.child.kill();
  await once(owner.child, "exit");
});

test("a node whose owner is killed leaves nothing, its folder included", async () => {
  const owner = await startOwner();
  owner.child.kill("SIGKILL");
  await once(owner.child, "exit");
  await expectNothing(owner);
  await expect
    .poll(() => readdir(join(owner.folder, "..")), { timeout: WAIT_MS })
    .not.toContain(owner.folder.split("/").at(-1));
});

test("a node whose keeper is killed leaves at most control groups, which go when the next node starts", async () => {
  const owner = await startOwner();
  const isGroup = (line: string): boolean => line.startsWith("cluster-connect-node-");
  process.kill(owner.keeper, "SIGKILL");
  const left = async (): Promise<readonly string[]> => leftBehind(owner);
  await expect.poll(async () => (await left()).filter((line) => !isGroup(line)), { timeout: WAIT_MS }).toEqual([]);
  owner.child.kill("SIGKILL");
  await once(owner.child, "exit");
  const next = await startOwner();
  expect((await left()).filter(isGroup)).toEqual([]);
  next.child.kill("SIGKILL");
  await expectNothing(next);
  await rm(owner.folder, { recursive: true, force: true });
});
