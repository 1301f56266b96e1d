import { ConnectError } from "@cluster-connect/protocol";

/** Something under way that time may end. */
export interface UnderWayEntry {
  /** When it has to end, in ms since 1970. */
  readonly endsAt: number;
  /** Why it ends then. */
  readonly endReason: ConnectError;
  /** Why it has to end now although it may go on, if so; asked on each sweep. */
  readonly fault?: (now: number) => ConnectError | undefined;
  /** Ends it; called once. */
  readonly end: (reason: ConnectError) => void;
}

/** Everything that is under way. */
export interface UnderWay {
  /** @returns takes it out again. */
  add(entry: UnderWayEntry): () => void;
  /** Ends the requests that are due. */
  sweep(now: number): void;
  endAll(reason: ConnectError): void;
  readonly size: () => number;
}

export function createUnderWay(): UnderWay {
  const entries = new Set<UnderWayEntry>();
  const end = (entry: UnderWayEntry, reason: ConnectError): void => {
    entries.delete(entry);
    entry.end(reason);
  };
  return {
    add(entry) {
      entries.add(entry);
      return () => {
        entries.delete(entry);
      };
    },
    sweep(now) {
      for (const entry of [...entries]) {
        const fault = now >= entry.endsAt ? entry.endReason : entry.fault?.(now);
        if (fault !== undefined) end(entry, fault);
      }
    },
    endAll(reason) {
      for (const entry of [...entries]) end(entry, reason);
    },
    size: () => entries.size,
  };
}

/** Why a stream ends with its caller's token. */
export function tokenExpired(): ConnectError {
  return new ConnectError("CC_TOKEN_EXPIRED", "The caller's token has expired while the stream was open");
}
