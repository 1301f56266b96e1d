import { basename } from "node:path";
import type { Platform, ProcessFacts, SystemReader } from "./platform.ts";

const LISTEN = "0A";
const INTERPRETER = /^(node|bun|deno|python[\d.]*|ruby|java|sh|bash)$/;

/** Linux, by its /proc. */
export function linuxPlatform(system: SystemReader): Platform {
  return {
    machineId: () => line(system.readFile("/etc/machine-id") ?? system.readFile("/var/lib/dbus/machine-id")),
    bootId: () => line(system.readFile("/proc/sys/kernel/random/boot_id")),
    processNamespace: () => system.readLink("/proc/self/ns/pid"),
    processFacts: (pid) => parseStat(system.readFile(`/proc/${pid}/stat`)),
    portHolder(port) {
      const sockets = listeningSockets(port, system);
      if (sockets.size === 0) return undefined;
      const pid = system
        .readFolder("/proc")
        .filter((name) => /^\d+$/.test(name))
        .find((name) => holdsOne(name, sockets, system));
      if (pid === undefined) return undefined;
      return { pid: Number(pid), command: commandOf(system.readFile(`/proc/${pid}/cmdline`) ?? "") };
    },
  };
}

function line(text: string | undefined): string | undefined {
  const found = text?.trim();
  return found === undefined || !/^[\w.-]{1,100}$/.test(found) ? undefined : found;
}

/** The second field is the command in parentheses and may hold anything; the third is the state, the 22nd the start. */
function parseStat(stat: string | undefined): ProcessFacts | undefined {
  if (stat === undefined) return undefined;
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const startedAt = fields[19];
  return {
    startedAt: startedAt !== undefined && /^\d{1,20}$/.test(startedAt) ? startedAt : undefined,
    isOver: fields[0] === "Z" || fields[0] === "X",
  };
}

/** Inodes of the sockets that listen on a port. */
function listeningSockets(port: number, system: SystemReader): ReadonlySet<string> {
  const inodes = new Set<string>();
  for (const table of ["/proc/net/tcp", "/proc/net/tcp6"]) {
    for (const row of (system.readFile(table) ?? "").split("\n").slice(1)) {
      const fields = row.trim().split(/\s+/);
      const localPort = Number.parseInt(fields[1]?.split(":").at(-1) ?? "", 16);
      if (localPort === port && fields[3] === LISTEN && fields[9] !== undefined) inodes.add(fields[9]);
    }
  }
  return inodes;
}

function holdsOne(pid: string, inodes: ReadonlySet<string>, system: SystemReader): boolean {
  return system.readFolder(`/proc/${pid}/fd`).some((fd) => {
    const inode = /^socket:\[(\d+)\]$/.exec(system.readLink(`/proc/${pid}/fd/${fd}`) ?? "")?.[1];
    return inode !== undefined && inodes.has(inode);
  });
}

/** The program's name, and a script's where that says more. */
function commandOf(cmdline: string): string {
  const words = cmdline.split("\0");
  const program = basename(words[0] ?? "");
  const script = words.slice(1).find((word) => !word.startsWith("-"));
  if (INTERPRETER.test(program) && script?.startsWith("/") === true) return `${program} ${script}`;
  return program === "" ? "unknown" : program;
}
