import { readdir, readFile } from "node:fs/promises";

/** Ticks of `/proc/<pid>/stat` in a second: fixed in the kernel's interface. */
const TICKS_PER_SECOND = 100;
const KIB_PER_MIB = 1_024;

interface ProcessStat {
  readonly parent: number;
  readonly cpuSeconds: number;
}

/** CPU seconds that processes have used since they began. */
export async function cpuSeconds(pids: readonly number[]): Promise<number> {
  const stats = await Promise.all(pids.map(readStat));
  return stats.reduce((sum, stat) => sum + (stat?.cpuSeconds ?? 0), 0);
}

/** Resident memory of a process, KiB. */
async function residentKib(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]);
}

/** Resident memory of a process, MiB. */
export async function residentMib(pid: number): Promise<number> {
  return (await residentKib(pid)) / KIB_PER_MIB;
}

/** The process and everything below it that is alive. */
export async function withDescendants(pid: number): Promise<readonly number[]> {
  const names = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
  const stats = await Promise.all(names.map(async (name) => ({ name, stat: await readStat(name) })));
  const found = [pid];
  // The list grows while it is walked.
  for (const parent of found) {
    for (const { name, stat } of stats) if (stat?.parent === parent) found.push(name);
  }
  return found;
}

async function readStat(pid: number): Promise<ProcessStat | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  // The name before it may hold anything, also blanks and parentheses.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const ticks = Number(fields[11]) + Number(fields[12]);
  return { parent: Number(fields[1]), cpuSeconds: ticks / TICKS_PER_SECOND };
}
