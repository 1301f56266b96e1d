import { randomUUID } from "node:crypto";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { identifyProcess, mayBeAlive } from "./process-id.ts";

const PREFIX = ".cluster-connect-";
const NAME = /^\.cluster-connect-(\d{1,10})-[0-9a-f-]{36}\.tmp$/;

/** A new path in a folder, which tells whose it is. */
export function temporaryPath(folder: string): string {
  return join(folder, `${PREFIX}${process.pid}-${randomUUID()}.tmp`);
}

/** Removes what processes that are no longer there left in a folder. */
export async function sweepTemporaries(folder: string): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    const pid = Number(NAME.exec(name)?.[1] ?? Number.NaN);
    if (Number.isNaN(pid) || mayBeAlive({ ...identifyProcess(pid), startedAt: "" })) continue;
    await rm(join(folder, name), { force: true });
  }
}
