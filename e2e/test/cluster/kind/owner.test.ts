import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import fc from "fast-check";
import { expect, test } from "vitest";
import { clusterName, isGone, type Owner, ownerHere, parseClusterName } from "../../../src/cluster/kind/owner.ts";

const noProc = process.platform === "linux" ? undefined : "only Linux says when a process started";
const here = (): Promise<Owner> => ownerHere({ pid: process.pid, hostname: "here" });

async function running(): Promise<{ readonly child: ChildProcess; readonly owner: Owner }> {
  const child = spawn("sleep", ["600"]);
  await once(child, "spawn");
  return { child, owner: await ownerHere({ pid: child.pid ?? 0, hostname: "here" }) };
}

test("an owner comes back from the name of its cluster, which is short enough for a host's", () => {
  const machine = fc.stringMatching(/^[0-9a-f]{8}$/);
  const startedAt = fc.bigInt({ min: 0n, max: 10n ** 12n }).map(String);
  fc.assert(
    fc.property(fc.record({ machine, pid: fc.integer({ min: 1, max: 4_194_304 }), startedAt }), (owner) => {
      const name = clusterName(owner);
      expect(parseClusterName(name)).toEqual(owner);
      expect(`${name}-control-plane`.length).toBeLessThan(64);
    }),
  );
});

test("a cluster that is not ours has no owner", () => {
  fc.assert(
    fc.property(fc.string(), (name) => {
      expect(parseClusterName(name)).toBeUndefined();
    }),
  );
  for (const name of ["kind", "cluster-connect", "cluster-connect-7", "cluster-connect-0123456g-7-7", "my-cluster-1-1"])
    expect(parseClusterName(name)).toBeUndefined();
});

test("an owner that lives is not gone, one that was killed is, and so is one whose id somebody else has", async ({
  skip,
}) => {
  skip(noProc !== undefined, noProc);
  const me = await here();
  const { child, owner } = await running();
  expect(await isGone(me, me)).toBe(false);
  expect(await isGone(owner, me)).toBe(false);
  expect(await isGone({ ...owner, startedAt: String(Number(owner.startedAt) - 1) }, me)).toBe(true);
  child.kill("SIGKILL");
  await once(child, "exit");
  expect(await isGone(owner, me)).toBe(true);
});

test("nobody is gone whose machine is another one, or whose start is not known", async () => {
  const me = await here();
  const elsewhere = await ownerHere({ pid: process.pid, hostname: "elsewhere" });
  expect(elsewhere.machine).not.toBe(me.machine);
  const ended = { ...me, startedAt: "1" };
  expect(await isGone({ ...ended, machine: elsewhere.machine }, me)).toBe(false);
  expect(await isGone({ ...ended, startedAt: "0" }, me)).toBe(false);
  expect(await isGone(ended, { ...me, startedAt: "0" })).toBe(false);
});
