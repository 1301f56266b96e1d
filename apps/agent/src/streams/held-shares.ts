import type { Clock } from "@cluster-connect/base";
import { type Budget, callerName, type ResumeRegistry } from "@cluster-connect/framing";
import type { Caller } from "@cluster-connect/protocol";

/** Judges who may open another stream while slow readers have used up what the agent holds. */
export interface HeldShares {
  /** Whether all is in use, and the caller's streams hold at least as much as those of each caller do on average. */
  isFullFor(caller: Caller | undefined): boolean;
}

export interface HeldSharesDeps {
  readonly buffers: Pick<Budget, "usedBytes">;
  readonly resumes: Pick<ResumeRegistry, "heldByCaller">;
  readonly clock: Clock;
}

/** How long a count of all streams is good for: each one looks at thousands. */
const COUNTED_MS = 1_000;

/** @param maxBytes of which on callers are judged. */
export function createHeldShares(maxBytes: number, { buffers, resumes, clock }: HeldSharesDeps): HeldShares {
  let counted: { readonly at: number; readonly held: ReadonlyMap<string, number> } | undefined;

  function heldNow(): ReadonlyMap<string, number> {
    const now = clock.monotonicNow();
    if (counted === undefined || now - counted.at >= COUNTED_MS) counted = { at: now, held: resumes.heldByCaller() };
    return counted.held;
  }

  return {
    isFullFor(caller) {
      if (buffers.usedBytes < maxBytes) return false;
      const held = heldNow();
      const total = [...held.values()].reduce((sum, bytes) => sum + bytes, 0);
      return (held.get(callerName(caller)) ?? 0) * held.size >= total;
    },
  };
}
