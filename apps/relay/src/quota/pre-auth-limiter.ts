import type { Release } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";

/** Sockets and channels whose dialer has not proved anything yet. */
export interface PreAuthLimiter {
  readonly size: number;
  /** Addresses that have any. */
  readonly addresses: number;
  /**
   * Counts one until it is released. Where there are too many in all, the oldest one of the address that has the most
   * is ended for it, so that no address keeps the others out.
   *
   * @param end ends the counted socket or channel.
   * @throws ConnectError `CC_LIMIT_REACHED` when the address has as many as one may, or as any other when all are full.
   */
  take(address: string, end: () => void, options?: TakeOptions): Release;
}

export interface TakeOptions {
  /** Many dialers come from a proxy's address, so its share is all there is. */
  readonly isProxy?: boolean;
}

interface PreAuthEntry {
  readonly end: () => void;
}

const RETRY_AFTER_MS = 1_000;

export function createPreAuthLimiter(limits: { readonly all: number; readonly perAddress: number }): PreAuthLimiter {
  const byAddress = new Map<string, Set<PreAuthEntry>>();
  let size = 0;

  function remove(address: string, entry: PreAuthEntry): void {
    const entries = byAddress.get(address);
    if (entries?.delete(entry) !== true) return;
    if (entries.size === 0) byAddress.delete(address);
    size -= 1;
  }

  /** @returns false when no address has more than this one would have. */
  function makeRoom(own: number): boolean {
    let most: readonly [address: string, entries: ReadonlySet<PreAuthEntry>] | undefined;
    for (const found of byAddress) if (found[1].size > (most?.[1].size ?? own)) most = found;
    if (most === undefined) return false;
    const [address, [oldest]] = most;
    if (oldest === undefined) return false;
    remove(address, oldest);
    oldest.end();
    return true;
  }

  return {
    get size() {
      return size;
    },
    get addresses() {
      return byAddress.size;
    },
    take(address, end, { isProxy = false } = {}) {
      const own = byAddress.get(address)?.size ?? 0;
      if (!isProxy && own >= limits.perAddress) {
        throw tooManyUnproved(`At most ${limits.perAddress} channels from one address that have not proved anything`);
      }
      if (size >= limits.all && !makeRoom(own)) {
        throw tooManyUnproved(`At most ${limits.all} channels that have not proved anything`);
      }
      const entry: PreAuthEntry = { end };
      const entries = byAddress.get(address) ?? new Set();
      byAddress.set(address, entries.add(entry));
      size += 1;
      return () => void remove(address, entry);
    },
  };
}

function tooManyUnproved(text: string): ConnectError {
  return new ConnectError("CC_LIMIT_REACHED", text, { retryAfterMs: RETRY_AFTER_MS });
}
