import { type HeaderLines, toHeaderLines, withoutHopByHop, withoutIdentity } from "@cluster-connect/auth";

/** Frames a message, or is written by ourselves: none of them may come behind a body. */
const NEVER: ReadonlySet<string> = new Set(["host", "content-length", "content-encoding", "content-type"]);

/**
 * The header lines that came behind a body and may go on, without any that names a caller.
 *
 * @param rawTrailers Names and values in turn.
 */
export function passedTrailers(rawTrailers: readonly string[]): HeaderLines {
  const lines = withoutIdentity(withoutHopByHop(toHeaderLines(rawTrailers)));
  return lines.filter(([name]) => !NEVER.has(name.toLowerCase()));
}
