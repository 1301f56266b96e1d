import { systemCode } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";

/** SQLite's primary result codes, in the low byte of its errors' `errcode`. */
const SQLITE_REASONS: ReadonlyMap<number, string> = new Map([
  [8, "it may be read only"],
  [10, "its disk fails"],
  [13, "its disk is full"],
]);
/** PostgreSQL's SQLSTATE. */
const POSTGRES_REASONS: ReadonlyMap<string, string> = new Map([["53100", "its disk is full"]]);
const LOW_BYTE = 0xff;
const MAX_DEPTH = 8;

/**
 * Why a store that answers takes no writes, in words that name no host and no file; undefined for any other failure. It
 * does not pass by itself: somebody has to make room.
 */
export function writeRefusal(error: unknown): string | undefined {
  let current = error;
  for (let depth = 0; depth < MAX_DEPTH && current instanceof Error; depth++) {
    const errcode = "errcode" in current && typeof current.errcode === "number" ? current.errcode & LOW_BYTE : -1;
    const reason = SQLITE_REASONS.get(errcode) ?? POSTGRES_REASONS.get(systemCode(current));
    if (reason !== undefined) return reason;
    current = current.cause;
  }
  return undefined;
}

/** The same failure with its reason and what to do; any other one as it is. */
export function withStoreReason(error: unknown): unknown {
  const reason = error instanceof ConnectError ? undefined : writeRefusal(error);
  if (reason === undefined) return error;
  return new ConnectError("CC_STORE_FAILED", `The relay's store takes no writes: ${reason}`, {
    cause: error,
    hint: "Ask the relay's administrator to make room for the store, or to make it writable; nothing else needs to be done.",
  });
}
