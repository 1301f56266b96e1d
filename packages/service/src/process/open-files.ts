import type { Socket } from "node:net";

/** Of the files that a process may have open, those that a new channel, a token's file and a refusal take. */
const RESERVED = 16;
/** The system's answer takes milliseconds: it is asked once, when there are as many files as none has by chance. */
const FIRST_LOOK = 48;

/**
 * Tells whether a connection took one of the last files that this process may open. The system gives the lowest free
 * number, so a high one says how many there are. On Windows there are no such numbers, and no such limit.
 *
 * @param limit how many files there may be; undefined where the system does not tell.
 */
export function createFileGuard(limit: () => number | undefined = openFileLimit): (socket: Socket) => boolean {
  let known: { readonly limit: number | undefined } | undefined;
  return (socket) => {
    const file = fileOf(socket);
    if (file < FIRST_LOOK) return false;
    known ??= { limit: limit() };
    return known.limit !== undefined && file >= known.limit - RESERVED;
  };
}

function fileOf(socket: Socket): number {
  const handle: unknown = Reflect.get(socket, "_handle");
  const file: unknown = typeof handle === "object" && handle !== null && "fd" in handle ? handle.fd : undefined;
  return typeof file === "number" ? file : -1;
}

/** `ulimit -n`, as the report of a process has it. */
function openFileLimit(): number | undefined {
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
