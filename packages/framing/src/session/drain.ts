import type { Clock, Timer } from "@cluster-connect/base";
import { ConnectError, encodeGoaway, type GoawayPayload, type StreamId } from "@cluster-connect/protocol";
import type { GoawayOptions, SessionEnd } from "./options.ts";

/** How long a side that said GOAWAY waits, with no stream open, for the peer to close. */
const LINGER_MS = 1_000;

/** The end of a session that was announced: GOAWAY of either side, and when the channel closes after it. */
export interface Drain {
  /** This side said GOAWAY: it takes no more streams. */
  readonly refuses: boolean;
  /** The content of a GOAWAY of either side, as an error; undefined before one. */
  readonly error: ConnectError | undefined;
  /** How the session ends when its channel closes as announced; undefined when the peer said no GOAWAY. */
  readonly end: SessionEnd | undefined;
  /** This side says GOAWAY, perhaps not for the first time. */
  announce(options: GoawayOptions): void;
  /** The peer said GOAWAY. */
  peerAnnounced(goaway: GoawayPayload): void;
  /** A stream ended: with the last one the session does too. */
  streamEnded(): void;
  cancel(): void;
}

export interface DrainDeps {
  readonly clock: Clock;
  readonly send: (payload: Uint8Array) => void;
  readonly openStreams: () => number;
  readonly lastPeerId: () => StreamId;
  /** The deadline or the last stream's end has come. */
  readonly close: (end: SessionEnd) => void;
}

export function createDrain(deps: DrainDeps): Drain {
  let ownGoaway: GoawayOptions | undefined;
  let peerGoaway: GoawayPayload | undefined;
  let deadline: Timer | undefined;
  let linger: Timer | undefined;

  function close(): void {
    const { code, text = "", retryAfterMs = 0 } = peerGoaway ?? ownGoaway ?? {};
    deps.close({ code, text, by: peerGoaway === undefined ? "local" : "peer", retryAfterMs });
  }

  /**
   * The side that got GOAWAY closes as soon as nothing is open. The side that sent it gives the peer time to do so: an
   * OPEN on its way is still refused by name.
   */
  function closeWhenEmpty(): void {
    const announced = ownGoaway !== undefined || peerGoaway !== undefined;
    if (!announced || deps.openStreams() > 0 || linger !== undefined) return;
    linger = deps.clock.setTimer(peerGoaway === undefined ? LINGER_MS : 0, () => {
      linger = undefined;
      if (deps.openStreams() === 0) close();
    });
  }

  return {
    get refuses() {
      return ownGoaway !== undefined;
    },
    get error(): ConnectError | undefined {
      if (peerGoaway === undefined) {
        return ownGoaway === undefined
          ? undefined
          : new ConnectError(ownGoaway.code ?? "CC_DRAINING", "This side drains");
      }
      const { code, text, retryAfterMs } = peerGoaway;
      const retry = retryAfterMs > 0 ? { retryAfterMs } : {};
      return new ConnectError(code ?? "CC_DRAINING", text === "" ? "The peer drains" : text, retry);
    },
    get end(): SessionEnd | undefined {
      if (peerGoaway === undefined) return undefined;
      const { code, text, retryAfterMs } = peerGoaway;
      return { code, text, by: "peer", retryAfterMs };
    },
    announce(options) {
      ownGoaway = options;
      deps.send(goawayPayload(options, deps.lastPeerId()));
      const { deadlineMs = 0 } = options;
      if (deadlineMs > 0) {
        deadline?.cancel();
        deadline = deps.clock.setTimer(deadlineMs, close);
      }
      closeWhenEmpty();
    },
    peerAnnounced(goaway) {
      peerGoaway = goaway;
      // The wait for the peer to close is over.
      linger?.cancel();
      linger = undefined;
      closeWhenEmpty();
    },
    streamEnded: closeWhenEmpty,
    cancel() {
      deadline?.cancel();
      linger?.cancel();
    },
  };
}

export function goawayPayload(options: GoawayOptions, lastStreamId: StreamId): Uint8Array {
  return encodeGoaway({ deadlineMs: 0, ...options, lastStreamId });
}
