import { readFileSync } from "node:fs";
import type { Socket } from "node:net";
import { ConnectError } from "@cluster-connect/protocol";

/** How many files this process may have open; undefined where the system does not tell. */
export type OpenFileLimit = () => number | undefined;

/** Of the files that a process may have open, those that a new channel, a token's file and a refusal take. */
const RESERVED = 16;
/** The system's answer takes milliseconds: it is asked once, when there are as many files as none has by chance. */
const FIRST_LOOK = 48;
/** Another connection may have ended by then. */
const RETRY_AFTER_MS = 1_000;

/**
 * Tells whether a connection took one of the last files that this process may open. The system gives the lowest free
 * number, so a high one says how many there are. On Windows there are no such numbers, and no such limit.
 *
 * @param limit the system is asked without it.
 */
export function createFileGuard(limit: OpenFileLimit = openFileLimit): (socket: Socket) => boolean {
  let known: { readonly limit: number | undefined } | undefined;
  return (socket) => {
    const file = fileOf(socket);
    if (file < FIRST_LOOK) return false;
    known ??= { limit: limit() };
    return known.limit !== undefined && file >= known.limit - RESERVED;
  };
}

/**
 * The refusal of what would take one of a daemon's last files, or found none left: `CC_LIMIT_REACHED`.
 *
 * @param program such as `relay`.
 * @param options `detail` ends the sentence, such as `, so no upstream can be reached`.
 */
export function outOfFiles(
  program: string,
  options: { readonly detail?: string; readonly cause?: unknown } = {},
): ConnectError {
  const { detail = "", cause } = options;
  const message = `The ${program} has as many open files as it may${detail}`;
  const hint = `Raise the limit of open files (ulimit -n, or LimitNOFILE of its unit) where the ${program} runs, or run another replica.`;
  return new ConnectError("CC_LIMIT_REACHED", message, { cause, hint, retryAfterMs: RETRY_AFTER_MS });
}

function fileOf(socket: Socket): number {
  const handle: unknown = Reflect.get(socket, "_handle");
  const file: unknown = typeof handle === "object" && handle !== null && "fd" in handle ? handle.fd : undefined;
  return typeof file === "number" ? file : -1;
}

/**
 * `ulimit -n`. A report of this process has it everywhere, but stops the thread that asks until every other thread has
 * answered, also one that waits for a disk; where there is `/proc`, that is read instead.
 */
function openFileLimit(): number | undefined {
  return process.platform === "linux" ? limitOfProc() : limitOfReport();
}

function limitOfProc(): number | undefined {
  try {
    return Number(/^Max open files +([0-9]+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1]) || undefined;
  } catch {
    return undefined; // no /proc: nothing is known
  }
}

function limitOfReport(): number | undefined {
  const { report } = process;
  if (report === undefined) return undefined;
  // Else the report asks for the names of all addresses.
  Reflect.set(report, "excludeNetwork", true);
  const found: unknown = report.getReport();
  const limits: unknown =
    typeof found === "object" && found !== null && "userLimits" in found ? found.userLimits : null;
  const files: unknown =
    typeof limits === "object" && limits !== null && "open_files" in limits ? limits.open_files : null;
  const soft: unknown = typeof files === "object" && files !== null && "soft" in files ? files.soft : undefined;
  return typeof soft === "number" ? soft : undefined;
}
