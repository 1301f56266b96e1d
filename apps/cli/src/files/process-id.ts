import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";

/**
 * A process, told apart from a later one with the same number: host and process namespace, number, and start time
 * where the system tells it.
 */
export interface ProcessId {
  readonly host: string;
  readonly pid: number;
  readonly startedAt: string;
}

/** This process, or another one of this machine. */
export function identifyProcess(pid: number): ProcessId {
  return { host: thisHost(), pid, startedAt: statusOf(pid).startedAt };
}

/** Whether the process may still run; true when this machine cannot tell. */
export function mayBeAlive(id: ProcessId): boolean {
  if (id.host !== thisHost()) return true;
  try {
    process.kill(id.pid, 0);
  } catch (error) {
    return !(error instanceof Error && "code" in error && error.code === "ESRCH");
  }
  const { startedAt, isOver } = statusOf(id.pid);
  return !isOver && (id.startedAt === "" || startedAt === "" || id.startedAt === startedAt);
}

/** One line without spaces in its parts. */
export function formatProcessId(id: ProcessId): string {
  return `${id.pid} ${id.startedAt === "" ? "-" : id.startedAt} ${id.host}`;
}

/** Undefined unless the text was made by {@link formatProcessId}. */
export function parseProcessId(text: string): ProcessId | undefined {
  const [, pid, startedAt, host] = /^(\d{1,10}) (-|\d{1,20}) (\S{1,300})$/.exec(text) ?? [];
  if (pid === undefined || startedAt === undefined || host === undefined) return undefined;
  return { host, pid: Number(pid), startedAt: startedAt === "-" ? "" : startedAt };
}

function thisHost(): string {
  const name = hostname().replaceAll(/\s/g, "_");
  try {
    // Two containers may share a home folder and a host name, but not this.
    return `${name}/${readlinkSync("/proc/self/ns/pid")}`;
  } catch {
    return name;
  }
}

interface ProcessStatus {
  /** Clock ticks since boot at which the process began; "" where the system has no /proc. */
  readonly startedAt: string;
  /** It has ended, and only waits for its parent to notice; in a container that may be for ever. */
  readonly isOver: boolean;
}

function statusOf(pid: number): ProcessStatus {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The second field is the command in parentheses and may hold anything; the third is the state, the 22nd the start.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return { startedAt: fields[19] ?? "", isOver: fields[0] === "Z" || fields[0] === "X" };
  } catch {
    return { startedAt: "", isOver: false };
  }
}
