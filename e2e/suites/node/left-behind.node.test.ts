import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile, rm } from "node:fs/promises";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { pollUntil } from "../../src/process/poll.ts";

const OWNER: string = fileURLToPath(new URL("./support/node-owner.ts", import.meta.url));
const WAIT_MS = 20_000;

interface Owner {
  readonly child: ChildProcess;
  readonly keeper: number;
  readonly folder: string;
}

async function startOwner(): Promise<Owner> {
  const child = fork(OWNER, [], { execArgv: ["--conditions=source"] });
  const [message]: readonly unknown[] = await once(child, "message");
  if (typeof message !== "object" || message === null || !("keeper" in message) || !("folder" in message)) {
    throw new Error(`the owner said ${String(message)}`);
  }
  return { child, keeper: Number(message.keeper), folder: String(message.folder) };
}

/** Command lines of the processes that name a folder, and mounts, control groups and interfaces of a node. */
async function leftBehind({ keeper, folder }: Owner, interfaces: readonly string[]): Promise<readonly string[]> {
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
  return [...found, ...interfaces.filter((name) => networkInterfaces()[name] !== undefined)];
}

/** The interfaces that nodes have on the host. */
const nodeInterfaces = (): readonly string[] =>
  Object.keys(networkInterfaces()).filter((name) => name.startsWith("cc-node"));

async function expectNothing(owner: Owner, interfaces: readonly string[]): Promise<void> {
  let last: readonly string[] = [];
  const nothing = pollUntil(
    async () => {
      last = await leftBehind(owner, interfaces);
      return last.length === 0 ? true : undefined;
    },
    { signal: AbortSignal.timeout(WAIT_MS) },
  );
  await nothing.catch(() => expect(last).toEqual([]));
}

async function startAlone(): Promise<{ readonly owner: Owner; readonly interfaces: readonly string[] }> {
  const before = nodeInterfaces();
  const owner = await startOwner();
  const interfaces = nodeInterfaces().filter((name) => !before.includes(name));
  expect(interfaces).toHaveLength(1);
  expect((await leftBehind(owner, interfaces)).length).toBeGreaterThan(5);
  return { owner, interfaces };
}

test("a node that is stopped leaves no process, control group or interface", async () => {
  const { owner, interfaces } = await startAlone();
  owner.child.send("stop");
  await once(owner.child, "message");
  expect((await leftBehind(owner, interfaces)).filter((line) => !line.includes("node-owner"))).toEqual([]);
  owner.child.kill();
  await once(owner.child, "exit");
});

test("a node whose owner is killed leaves nothing, its folder included", async () => {
  const { owner, interfaces } = await startAlone();
  owner.child.kill("SIGKILL");
  await once(owner.child, "exit");
  await expectNothing(owner, interfaces);
  await expect
    .poll(() => readdir(join(owner.folder, "..")), { timeout: WAIT_MS })
    .not.toContain(owner.folder.split("/").at(-1));
});

test("a node whose keeper is killed leaves empty control groups, until the next node starts", async () => {
  const { owner, interfaces } = await startAlone();
  const isGroup = (line: string): boolean => line.startsWith("cluster-connect-node-");
  process.kill(owner.keeper, "SIGKILL");
  const left = async (): Promise<readonly string[]> => leftBehind(owner, interfaces);
  await expect.poll(async () => (await left()).filter((line) => !isGroup(line)), { timeout: WAIT_MS }).toEqual([]);
  owner.child.kill("SIGKILL");
  await once(owner.child, "exit");
  expect((await left()).filter(isGroup).length).toBeGreaterThan(0);
  const next = await startAlone();
  expect((await left()).filter(isGroup)).toEqual([]);
  next.owner.child.kill("SIGKILL");
  await expectNothing(next.owner, next.interfaces);
  await rm(owner.folder, { recursive: true, force: true });
});
