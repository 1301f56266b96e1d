import { onAbort } from "@cluster-connect/base";
import { ConnectError, type InstanceId } from "@cluster-connect/protocol";

/** Which relays the agent has tunnels to, known to all that look for another one under the same name. */
export interface RelaySpread {
  /**
   * Claims a relay that said HELLO.
   *
   * @param liveRelays how many relays it says that there are.
   * @param session names who claims.
   * @returns false when there is a tunnel to this relay already.
   */
  claim(relayId: InstanceId, liveRelays: number, session: object): boolean;
  /**
   * A look led to a relay that there is a tunnel to. When this returns, the next dial may follow at once.
   *
   * @param spares channels to such relays that are open, this one included.
   * @throws ConnectError `CC_CANCELLED` with when to look again.
   */
  missed(spares: number): void;
  /** Whether there is a relay without a tunnel. */
  readonly lacking: boolean;
  /** The tunnel of a session serves streams now. */
  opened(session: object): void;
  /** The session takes no more streams, or never did. */
  release(session: object): void;
  /** A relay says how many there are by now. */
  live(liveRelays: number): void;
  /** Calls back when a tunnel was lost or a relay came: those who wait to look for another relay look at once. */
  onPoll(poll: () => void, signal: AbortSignal): void;
}

export interface RelaySpreadDeps {
  readonly now: () => number;
  /** Calls back when the agents of other clusters, who hear of the same relay, have had their chance too. */
  readonly spread: (poll: () => void) => void;
  /** Told once when many looks in a row led to the same relays, though there are others. */
  readonly onUnspread: (liveRelays: number) => void;
}

/** A balancer spreads well enough that a few looks find the other relay. */
const FIRST_POLL_MS = 500;
/** With a tunnel to each relay there is, the next look can wait: a relay that is lost or comes is noticed at once. */
const NEXT_POLL_MS = 45_000;
/**
 * How many channels to relays it has the first look keeps open, and any look: a balancer that goes by least load leads
 * to the same relay until that one has more. They stay open between looks, so that those of all agents add up.
 */
const FIRST_SPARES = 2;
const MAX_SPARES = 32;
/** After so many looks in vain it is the balancer's way; from then on one dial has to do. */
const MAX_POLLS = 6;

/** A tunnel that is lost sooner than this is left to the waits of whoever dialed it. */
const STABLE_MS = 5_000;

interface Claim {
  readonly relayId: InstanceId;
  openedAt: number;
}

export function createRelaySpread(deps: RelaySpreadDeps): RelaySpread {
  const claims = new Map<object, Claim>();
  const polls = new Set<() => void>();
  let live = 1;
  let inVain = 0;
  let told = false;
  const held = (): ReadonlySet<InstanceId> => new Set([...claims.values()].map(({ relayId }) => relayId));
  const pollNow = (): void => {
    for (const poll of polls) poll();
  };

  function lookAgain(retryAfterMs: number): never {
    throw new ConnectError("CC_CANCELLED", "There is a tunnel to this relay already", { retryAfterMs });
  }

  return {
    claim(relayId, liveRelays, session) {
      live = liveRelays;
      if (held().has(relayId)) return false;
      claims.set(session, { relayId, openedAt: Number.POSITIVE_INFINITY });
      return true;
    },
    missed(spares) {
      if (held().size >= live) lookAgain(NEXT_POLL_MS);
      if (inVain < MAX_POLLS && spares < Math.min(MAX_SPARES, FIRST_SPARES * 2 ** inVain)) return;
      const waitMs = inVain < MAX_POLLS ? FIRST_POLL_MS * 2 ** inVain : NEXT_POLL_MS;
      inVain = Math.min(inVain + 1, MAX_POLLS);
      if (inVain === MAX_POLLS && !told) {
        told = true;
        deps.onUnspread(live);
      }
      lookAgain(waitMs);
    },
    get lacking() {
      return held().size < live;
    },
    opened(session) {
      const claim = claims.get(session);
      if (claim !== undefined) claim.openedAt = deps.now();
      inVain = 0;
      if (held().size > 1) told = false;
    },
    release(session) {
      const claim = claims.get(session);
      claims.delete(session);
      if (claim === undefined || deps.now() - claim.openedAt < STABLE_MS) return;
      inVain = 0;
      pollNow();
    },
    live(liveRelays) {
      const more = liveRelays > live;
      live = liveRelays;
      if (!more || held().size >= live) return;
      inVain = 0;
      deps.spread(pollNow);
    },
    onPoll(poll, signal) {
      polls.add(poll);
      onAbort(signal, () => polls.delete(poll));
    },
  };
}
