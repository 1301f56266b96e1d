import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { runToEnd } from "../../src/process/run-to-end.ts";
import { notKind } from "../support/provider.ts";
import { NO_END } from "../support/stack.ts";

const OWNER: string = fileURLToPath(new URL("./support/node-owner.ts", import.meta.url));

async function startOwner(): Promise<ChildProcess> {
  const child = fork(OWNER, [], { execArgv: ["--conditions=source"] });
  await once(child, "message");
  return child;
}

async function kill(child: ChildProcess): Promise<void> {
  child.kill("SIGKILL");
  await once(child, "exit");
}

/** Which of these processes have a cluster. */
async function withCluster(...owners: readonly ChildProcess[]): Promise<readonly boolean[]> {
  const { stdout } = await runToEnd("kind", ["get", "clusters"], { env: process.env, signal: NO_END });
  return owners.map(({ pid }) => new RegExp(`^cluster-connect-[0-9a-f]+-${pid}-`, "m").test(stdout));
}

test("the cluster of a killed process goes when the next one is made, that of a living one stays", async ({ skip }) => {
  skip(notKind !== undefined, notKind);
  const living = await startOwner();
  const killed = await startOwner();
  await kill(killed);
  expect(await withCluster(living, killed)).toEqual([true, true]);
  const next = await startOwner();
  expect(await withCluster(living, killed, next)).toEqual([true, false, true]);
  for (const owner of [living, next]) {
    owner.send("stop");
    await once(owner, "message");
    await kill(owner);
  }
  expect(await withCluster(living, next)).toEqual([false, false]);
});
