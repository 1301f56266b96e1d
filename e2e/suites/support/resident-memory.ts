import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";

const LOOK_EVERY_MS = 50;

/** Bytes of a process that are in memory now. */
export async function residentBytes(pid: number): Promise<number> {
  const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(await readFile(`/proc/${pid}/status`, "utf8")) ?? [];
  return Number(kib) * 1_024;
}

/** Looks at a process until the signal aborts. @returns the most that it had. */
export async function highestResidentBytes(pid: number, options: { readonly signal: AbortSignal }): Promise<number> {
  let highest = 0;
  while (!options.signal.aborted) {
    highest = Math.max(highest, await residentBytes(pid));
    await delay(LOOK_EVERY_MS);
  }
  return highest;
}
