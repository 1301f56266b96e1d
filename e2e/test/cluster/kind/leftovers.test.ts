import { expect, test } from "vitest";
import { removeLeftovers } from "../../../src/cluster/kind/leftovers.ts";
import { clusterName, ownerHere } from "../../../src/cluster/kind/owner.ts";

test("clusters of processes that have ended are removed and named, all others stay", async ({ skip }) => {
  skip(process.platform !== "linux", "only Linux says when a process started");
  const here = await ownerHere({ pid: process.pid, hostname: "here" });
  const [mine, dead, elsewhere] = [
    here,
    { ...here, startedAt: "1" },
    { ...here, machine: "00000000", startedAt: "1" },
  ].map(clusterName);
  const removed: string[] = [];
  const said: string[] = [];
  const kind = {
    clusters: async () => ["", "kind", "somebodys", mine ?? "", dead ?? "", elsewhere ?? "", "cluster-connect-7"],
    remove: async (name: string) => {
      removed.push(name);
      throw new Error("another process was faster");
    },
  };
  const progress = {
    line: (text: string) => said.push(text),
    during: <T>(_text: string, work: () => Promise<T>) => work(),
  };
  await removeLeftovers(here, kind, { progress });
  expect(removed).toEqual([dead]);
  expect(said).toEqual([`removing the kind cluster ${dead}: process ${process.pid} has ended without it`]);
});
