import { ConnectError, encodeGoaway, type GoawayPayload, type StreamId } from "@cluster-connect/protocol";
import type { Clock, Timer } from "./clock.ts";
import type { GoawayOptions, SessionEnd } from "./session-options.ts";

/** How long a side that said GOAWAY waits, with no stream open, for the peer to close. */
const LINGER_MS = 1_000;

/** The end of a session that was announced: GOAWAY of either side, and when the channel closes after it. */
export interface Departure {
  /** This side said GOAWAY: it takes no more streams. */
  readonly refuses: boolean;
  /** What GOAWAY said, of either side, as an error; undefined before one. */
  readonly error: ConnectError | undefined;
  /** How the session ends when its channel closes as announced; undefined when the peer said no GOAWAY. */
  readonly end: SessionEnd | undefined;
  /** This side says GOAWAY, perhaps not for the first time. */
  say(options: GoawayOptions): void;
  /** The peer said GOAWAY. */
  heard(goaway: GoawayPayload): void;
  /** A stream ended: with the last one the session does too. */
  streamEnded(): void;
  cancel(): void;
}

export interface DepartureDeps {
  readonly clock: Clock;
  readonly send: (payload: Uint8Array) => void;
  readonly openStreams: () => number;
  readonly lastPeerId: () => StreamId;
  /** The deadline or the last stream's end has come. */
  readonly close: (end: SessionEnd) => void;
}

export function createDeparture(deps: DepartureDeps): Departure {
  let said: GoawayOptions | undefined;
  let peerSaid: GoawayPayload | undefined;
  let deadline: Timer | undefined;
  let linger: Timer | undefined;

  function close(): void {
    const { code, text = "", retryAfterMs = 0 } = peerSaid ?? said ?? {};
    deps.close({ code, text, by: peerSaid === undefined ? "local" : "peer", retryAfterMs });
  }

  /**
   * The side that got GOAWAY closes as soon as nothing is open; the side that said it gives the peer time to do so, so
   * that an OPEN on its way is still refused by name.
   */
  function closeWhenEmpty(): void {
    const announced = said !== undefined || peerSaid !== undefined;
    if (!announced || deps.openStreams() > 0 || linger !== undefined) return;
    linger = deps.clock.setTimer(peerSaid === undefined ? LINGER_MS : 0, () => {
      linger = undefined;
      if (deps.openStreams() === 0) close();
    });
  }

  return {
    get refuses() {
      return said !== undefined;
    },
    get error(): ConnectError | undefined {
      if (peerSaid === undefined) {
        return said === undefined ? undefined : new ConnectError(said.code ?? "CC_DRAINING", "This side drains");
      }
      const { code, text, retryAfterMs } = peerSaid;
      const retry = retryAfterMs > 0 ? { retryAfterMs } : {};
      return new ConnectError(code ?? "CC_DRAINING", text === "" ? "The peer drains" : text, retry);
    },
    get end(): SessionEnd | undefined {
      if (peerSaid === undefined) return undefined;
      const { code, text, retryAfterMs } = peerSaid;
      return { code, text, by: "peer", retryAfterMs };
    },
    say(options) {
      said = options;
      deps.send(goawayPayload(options, deps.lastPeerId()));
      const { deadlineMs = 0 } = options;
      if (deadlineMs > 0) {
        deadline?.cancel();
        deadline = deps.clock.setTimer(deadlineMs, close);
      }
      closeWhenEmpty();
    },
    heard(goaway) {
      peerSaid = goaway;
      // What waited for the peer to close need not wait any longer.
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
