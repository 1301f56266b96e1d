import { ConnectError, type InstanceId } from "@cluster-connect/protocol";

/** Which relays the agent has tunnels to, known to all that look for another one under the same name. */
export interface Reached {
  /**
   * Claims a relay that said HELLO.
   *
   * @param liveRelays how many relays it says that there are.
   * @param session names who claims.
   * @throws ConnectError `CC_CANCELLED` with when to look again, when there is a tunnel to this relay.
   */
  claim(relayId: InstanceId, liveRelays: number, session: object): void;
  /** The tunnel of a session serves streams now. */
  opened(session: object): void;
  /** The session takes no more streams, or never did. */
  release(session: object): void;
  /** Calls back when a tunnel was lost: those who wait to look for another relay look at once. */
  onLost(look: () => void, signal: AbortSignal): void;
}

/** A balancer spreads well enough that a few looks find the other relay. */
const FIRST_LOOK_MS = 500;
/** With a tunnel to each relay there is, the next look can wait: a relay that is lost or drains is noticed at once. */
const NEXT_LOOK_MS = 45_000;

/** A tunnel that is lost sooner than this is left to the waits of whoever dialed it. */
const STABLE_MS = 5_000;

interface Claim {
  readonly relayId: InstanceId;
  openedAt: number;
}

export function createReached(deps: { readonly now: () => number }): Reached {
  const claims = new Map<object, Claim>();
  const looks = new Set<() => void>();
  let misses = 0;
  return {
    claim(relayId, liveRelays, session) {
      const held = new Set([...claims.values()].map((claim) => claim.relayId));
      if (held.has(relayId)) {
        const soon = Math.min(NEXT_LOOK_MS, FIRST_LOOK_MS * 2 ** misses);
        const retryAfterMs = held.size < liveRelays ? soon : NEXT_LOOK_MS;
        misses = Math.min(misses + 1, 16);
        throw new ConnectError("CC_CANCELLED", "There is a tunnel to this relay already", { retryAfterMs });
      }
      claims.set(session, { relayId, openedAt: Number.POSITIVE_INFINITY });
    },
    opened(session) {
      const claim = claims.get(session);
      if (claim !== undefined) claim.openedAt = deps.now();
      misses = 0;
    },
    release(session) {
      const claim = claims.get(session);
      claims.delete(session);
      if (claim === undefined || deps.now() - claim.openedAt < STABLE_MS) return;
      misses = 0;
      for (const look of looks) look();
    },
    onLost(look, signal) {
      looks.add(look);
      signal.addEventListener("abort", () => looks.delete(look), { once: true });
    },
  };
}
