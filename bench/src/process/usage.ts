import { readdir, readFile } from "node:fs/promises";

const NANOSECONDS = 1_000_000_000;
const KIB_PER_MIB = 1_024;

/** CPU seconds that the threads of processes have used since they began. */
export async function cpuSeconds(pids: readonly number[]): Promise<number> {
  const spent = await Promise.all(pids.map(cpuNanoseconds));
  return spent.reduce((sum, nanoseconds) => sum + nanoseconds, 0) / NANOSECONDS;
}

/** Finer than the ticks of `stat`, which are 10 ms. */
async function cpuNanoseconds(pid: number): Promise<number> {
  const threads = await readdir(`/proc/${pid}/task`).catch(() => []);
  const texts = await Promise.all(
    threads.map((thread) => readFile(`/proc/${pid}/task/${thread}/schedstat`, "utf8").catch(() => "0")),
  );
  return texts.reduce((sum, text) => sum + Number(text.split(" ")[0]), 0);
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
  const parents = await Promise.all(names.map(async (name) => ({ name, parent: await parentOf(name) })));
  const found = [pid];
  // The list grows while it is walked.
  for (const above of found) {
    for (const { name, parent } of parents) if (parent === above) found.push(name);
  }
  return found;
}

async function parentOf(pid: number): Promise<number | undefined> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  const [, parent] = /^PPid:\s+(\d+)$/m.exec(status) ?? [];
  return parent === undefined ? undefined : Number(parent);
}
