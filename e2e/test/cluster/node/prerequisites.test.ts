import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import { beforeEach, expect, test } from "vitest";
import { type NodePlaces, nodePrerequisites } from "../../../src/cluster/node/prerequisites.ts";

const ROOT = { platform: "linux", uid: 0 } as const;
const PROGRAMS = [
  ...["busybox", "containerd", "containerd-shim-runc-v2", "ctr", "ip", "iptables", "mount", "nsenter", "runc"],
  ...["setpriv", "unshare"],
];
const PLUGINS = ["bridge", "host-local", "loopback", "portmap"];

let places: NodePlaces;

beforeEach(async () => {
  const folder = await temporaryFolder();
  places = { path: join(folder, "bin"), cni: join(folder, "cni") };
  await mkdir(places.path);
  await mkdir(places.cni);
  for (const name of PROGRAMS) await writeFile(join(places.path, name), "static", { mode: 0o755 });
  for (const name of PLUGINS) await writeFile(join(places.cni, name), "", { mode: 0o755 });
});

test("root with every program on Linux lacks nothing", async () => {
  expect(await nodePrerequisites(ROOT, places)).toEqual([]);
});

test("elsewhere than on Linux there is no node", async () => {
  expect(await nodePrerequisites({ platform: "darwin", uid: 501 }, places)).toEqual(["a node needs Linux"]);
});

test("everything that is missing is named at once, with the command that brings it", async () => {
  const nowhere = { path: join(places.path, "none"), cni: join(places.cni, "none") };
  const [root, packages, ...others] = await nodePrerequisites({ platform: "linux", uid: 1_000 }, nowhere);
  expect(root).toContain("root");
  expect(packages).toBe(
    "run: apt-get install --no-install-recommends busybox-static containerd containernetworking-plugins iproute2 iptables mount runc util-linux",
  );
  expect(others).toEqual([]);
});

test("a busybox that needs libraries is not enough for an image", async () => {
  await copyFile(process.execPath, join(places.path, "busybox"));
  expect(await nodePrerequisites(ROOT, places)).toEqual([
    "run: apt-get install --no-install-recommends busybox-static",
  ]);
});
