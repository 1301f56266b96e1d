import { mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { systemCode } from "@cluster-connect/base";
import { removeCgroup } from "../../process/cgroup.ts";
import type { Keeper } from "../../process/keeper.ts";

/** Control groups of a node, of the same name in every hierarchy. */
export interface Cgroups {
  /** Below the root of each hierarchy, beginning with a slash. */
  readonly name: string;
  remove(): Promise<void>;
}

const PREFIX = "cluster-connect-node-";

/** Where the hierarchies of control groups are mounted: several with version 1, one with version 2. */
async function hierarchies(): Promise<readonly string[]> {
  const mounts = (await readFile("/proc/self/mounts", "utf8")).split("\n").map((line) => line.split(" "));
  return mounts.flatMap(([, path, type]) =>
    path !== undefined && (type === "cgroup" || type === "cgroup2") ? [path] : [],
  );
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemCode(error) === "EPERM";
  }
}

/** Removes the groups of a node whose owner and keeper were killed together: no process could. */
async function removeAbandoned(hierarchy: string): Promise<void> {
  for (const name of await readdir(hierarchy)) {
    if (!name.startsWith(PREFIX) || isRunning(Number(name.slice(PREFIX.length).split("-")[0]))) continue;
    await removeCgroup(join(hierarchy, name)).catch(() => {}); // another process does the same
  }
}

let made = 0;

/** Makes a node's control groups; the keeper removes them if they are still there at the end. */
export async function makeCgroups(deps: { readonly keeper: Keeper }): Promise<Cgroups> {
  const name = `${PREFIX}${deps.keeper.pid}-${++made}`;
  const paths: string[] = [];
  for (const hierarchy of await hierarchies()) {
    await removeAbandoned(hierarchy);
    const path = join(hierarchy, name);
    deps.keeper.ownCgroup(path);
    await mkdir(path, { recursive: true });
    paths.push(path);
  }
  return {
    name: `/${name}`,
    remove: async () => {
      for (const path of paths) await removeCgroup(path);
    },
  };
}
