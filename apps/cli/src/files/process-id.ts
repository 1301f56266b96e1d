import { createHash } from "node:crypto";
import { hostname } from "node:os";
import { systemCode } from "@cluster-connect/base";
import { currentPlatform } from "../platform/current.ts";
import type { Platform } from "../platform/platform.ts";

/**
 * A process, told apart from every other one that ever had its number. It is known by machine, start of the machine,
 * namespace of process numbers, number, and start time.
 */
export interface ProcessId {
  /** Host name and machine id, hashed: neither alone tells two clones of one machine apart. */
  readonly machine: string;
  /** This start of the machine; "" where the system does not tell, as with the next two. */
  readonly boot: string;
  readonly namespace: string;
  readonly startedAt: string;
  readonly pid: number;
}

/** Whether a process runs; `unknown` for one of another container or machine, which may or may not. */
export type Liveness = "alive" | "gone" | "unknown";

/** The system facts that tell processes apart, and whether a number is in use. */
export interface ProcessDeps {
  readonly platform: Platform;
  readonly hostName: string;
  /** Throws as `process.kill(pid, 0)` does. */
  readonly probe: (pid: number) => void;
}

/** Of a signed 32-bit number, as systems keep it. */
const MAX_PID = 0x7f_ff_ff_ff;

const SYSTEM: ProcessDeps = {
  platform: currentPlatform(),
  hostName: hostname(),
  probe: (pid) => void process.kill(pid, 0),
};

/** This process, or another one of this machine. */
export function identifyProcess(pid: number, deps: ProcessDeps = SYSTEM): ProcessId {
  return { ...scopeOf(deps), pid, startedAt: deps.platform.processFacts(pid)?.startedAt ?? "" };
}

export function livenessOf(id: ProcessId, deps: ProcessDeps = SYSTEM): Liveness {
  const here = scopeOf(deps);
  if (id.boot === "" || here.boot === "") return "unknown";
  // A machine that was started again has none of its former processes.
  if (id.boot !== here.boot) return id.machine === here.machine ? "gone" : "unknown";
  if (id.namespace === "" || id.namespace !== here.namespace) return "unknown";
  try {
    deps.probe(id.pid);
  } catch (error) {
    if (systemCode(error) === "ESRCH") return "gone";
  }
  const facts = deps.platform.processFacts(id.pid);
  if (facts?.isOver === true) return "gone";
  if (facts?.startedAt === undefined || id.startedAt === "") return "unknown";
  return facts.startedAt === id.startedAt ? "alive" : "gone";
}

/** Eight characters that differ where process numbers mean something else: for names of files. */
export function processScope(deps: ProcessDeps = SYSTEM): string {
  return shortHash(Object.values(scopeOf(deps)).join(" ")).slice(0, 8);
}

/** One line without spaces in its parts. */
export function formatProcessId({ machine, boot, namespace, pid, startedAt }: ProcessId): string {
  return [pid, startedAt || "-", boot || "-", namespace || "-", machine].join(" ");
}

/** Undefined unless the text was made by {@link formatProcessId}. */
export function parseProcessId(text: string): ProcessId | undefined {
  const [, number, startedAt, boot, namespace, machine] =
    /^(\d{1,10}) (-|[\w:-]{1,60}) (\S{1,100}) (\S{1,100}) ([0-9a-f]{16})$/.exec(text) ?? [];
  if (number === undefined || startedAt === undefined || boot === undefined) return undefined;
  if (namespace === undefined || machine === undefined) return undefined;
  const pid = Number(number);
  // 0 would mean the whole group of processes; a container's first process is 1.
  if (pid < 1 || pid > MAX_PID) return undefined;
  const known = (field: string): string => (field === "-" ? "" : field);
  return { pid, startedAt: known(startedAt), boot: known(boot), namespace: known(namespace), machine };
}

function scopeOf({ platform, hostName }: ProcessDeps): Pick<ProcessId, "machine" | "boot" | "namespace"> {
  return {
    machine: shortHash(`${hostName}\n${platform.machineId() ?? ""}`),
    boot: platform.bootId() ?? "",
    namespace: platform.processNamespace() ?? "",
  };
}

function shortHash(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}
