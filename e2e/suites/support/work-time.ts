import { readFile } from "node:fs/promises";

/** One tick of /proc's clock, on every Linux that Node runs on. */
const TICK_MS = 10;

/**
 * Milliseconds that the first thread of a process, the one that runs its JavaScript, has had a processor: what it has
 * done itself, however much other processes took meanwhile.
 */
export async function workMs(pid: number): Promise<number> {
  const thread = `/proc/${pid}/task/${pid}`;
  const [nanoseconds] = (await readFile(`${thread}/schedstat`, "utf8").catch(() => "")).split(" ");
  if (Number(nanoseconds) > 0) return Number(nanoseconds) / 1_000_000;
  // Without scheduler statistics; the name of the program, in brackets, may hold spaces.
  const fields = (await readFile(`${thread}/stat`, "utf8")).replace(/^.*\) /s, "").split(" ");
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}
