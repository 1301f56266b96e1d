import { randomUUID } from "node:crypto";
import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { identifyProcess, livenessOf, processScope } from "./process-id.ts";

const PREFIX = ".cluster-connect-";
const NAME = /^\.cluster-connect-([0-9a-f]{8})-(\d{1,10})-[0-9a-f-]{36}\.tmp$/;
/** Nothing is written for so long; a file of another machine or container that is older was left behind. */
const LEFT_BEHIND_MS = 86_400_000;

/** A new path in a folder, which tells whose it is. */
export function temporaryPath(folder: string): string {
  return join(folder, `${PREFIX}${processScope()}-${process.pid}-${randomUUID()}.tmp`);
}

/** Removes what processes that are no longer there left in a folder. */
export async function sweepTemporaries(folder: string): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    const [, scope, pid] = NAME.exec(name) ?? [];
    if (scope === undefined || pid === undefined) continue;
    const path = join(folder, name);
    const isLeft = scope === processScope() ? isGone(Number(pid)) : await isOld(path);
    if (isLeft) await rm(path, { force: true });
  }
}

function isGone(pid: number): boolean {
  return livenessOf({ ...identifyProcess(pid), pid, startedAt: "" }) === "gone";
}

async function isOld(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  return found !== undefined && Date.now() - found.mtimeMs > LEFT_BEHIND_MS;
}
