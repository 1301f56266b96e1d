import { createHash } from "node:crypto";
import { readFile, readlink } from "node:fs/promises";

/** The process that a cluster belongs to. */
export interface Owner {
  /** Where its id means something: other machines and containers may use the same Docker. */
  readonly machine: string;
  readonly pid: number;
  /** When it started, in clock ticks since boot; "0" where that cannot be known. */
  readonly startedAt: string;
}

const PREFIX = "cluster-connect";
const UNKNOWN = "0";
const NAME = new RegExp(`^${PREFIX}-([0-9a-f]{8})-([1-9]\\d*)-(\\d+)$`);
/** Fields of /proc/PID/stat behind the command's name, which may itself hold blanks and brackets. */
const STATE = 0;
const START_TIME = 19;

/** The name of an owner's cluster: kind keeps nothing else that could tell the owner. */
export const clusterName = ({ machine, pid, startedAt }: Owner): string => `${PREFIX}-${machine}-${pid}-${startedAt}`;

/** The owner of a cluster by its name; undefined for a cluster that is not ours. */
export function parseClusterName(name: string): Owner | undefined {
  const [, machine, pid, startedAt] = NAME.exec(name) ?? [];
  return machine === undefined || startedAt === undefined ? undefined : { machine, pid: Number(pid), startedAt };
}

/** This process as an owner. */
export async function ownerHere(options: { readonly pid: number; readonly hostname: string }): Promise<Owner> {
  const space = await readlink("/proc/self/ns/pid").catch(() => "");
  const machine = createHash("sha256").update(`${options.hostname}\n${space}`).digest("hex").slice(0, 8);
  return { machine, pid: options.pid, startedAt: (await startTimeOf(options.pid)) ?? UNKNOWN };
}

/** Whether an owner was of this machine and has certainly ended; what cannot be known is not gone. */
export async function isGone(owner: Owner, here: Owner): Promise<boolean> {
  if (owner.machine !== here.machine || owner.startedAt === UNKNOWN || here.startedAt === UNKNOWN) return false;
  return (await startTimeOf(owner.pid)) !== owner.startedAt;
}

async function startTimeOf(pid: number): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields[STATE] === "Z" ? undefined : fields[START_TIME];
}
