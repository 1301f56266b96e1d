import { readdir, readFile, readlink } from "node:fs/promises";
import { basename } from "node:path";
import { ConnectError } from "@cluster-connect/protocol";

/** A process that listens on a port. */
export interface PortHolder {
  readonly pid: number;
  readonly command: string;
}

/** `CC_PORT_IN_USE`, with the process that has the port where the system tells. */
export async function describePortHolder(port: number, cause: unknown): Promise<ConnectError> {
  const holder = await findPortHolder(port);
  const by = holder === undefined ? "another process" : `process ${holder.pid} (${holder.command})`;
  return new ConnectError("CC_PORT_IN_USE", `Port ${port} is in use by ${by}`, { cause });
}

const LISTEN = "0A";

/** Looks through Linux' /proc; undefined elsewhere, or when the process is another user's. */
async function findPortHolder(port: number): Promise<PortHolder | undefined> {
  const inodes = new Set<string>();
  for (const table of ["/proc/net/tcp", "/proc/net/tcp6"]) {
    const text = await readFile(table, "utf8").catch(() => "");
    for (const line of text.split("\n").slice(1)) {
      const fields = line.trim().split(/\s+/);
      const localPort = Number.parseInt(fields[1]?.split(":").at(-1) ?? "", 16);
      if (localPort === port && fields[3] === LISTEN && fields[9] !== undefined) inodes.add(fields[9]);
    }
  }
  if (inodes.size === 0) return undefined;
  for (const name of await readdir("/proc").catch(() => [])) {
    const pid = Number(name);
    if (Number.isInteger(pid) && (await holds(pid, inodes))) return { pid, command: await commandOf(pid) };
  }
  return undefined;
}

async function holds(pid: number, inodes: ReadonlySet<string>): Promise<boolean> {
  for (const fd of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
    const target = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => "");
    const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
    if (inode !== undefined && inodes.has(inode)) return true;
  }
  return false;
}

/** The program's name, and a script's where that says more; never further arguments, which may hold secrets. */
async function commandOf(pid: number): Promise<string> {
  const words = (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).split("\0");
  const program = basename(words[0] ?? "");
  const script = words.slice(1).find((word) => !word.startsWith("-"));
  const isInterpreter = /^(node|bun|deno|python[\d.]*|ruby|java|sh|bash)$/.test(program);
  if (isInterpreter && script?.startsWith("/") === true) return `${program} ${script}`;
  return program === "" ? "unknown" : program;
}
