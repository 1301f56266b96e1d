import type { Clock } from "@cluster-connect/base";
import { encodeHopAck, HOP_ACK_EVERY_BYTES, MAX_PAYLOAD_BYTES } from "@cluster-connect/protocol";

export interface HopWindowOptions {
  /** False: DATA is never held back for the hop; the peer's HOPACKs are still taken and sent. */
  readonly enabled?: boolean;
  /** The interval that the peer was told in HELLO. */
  readonly everyBytes?: number;
}

/** The sending half of a hop: how much DATA may be in flight, so that the queue stays where streams take turns. */
export interface HopSender {
  /** Whether DATA may be sent now. */
  readonly open: boolean;
  readonly inFlightBytes: number;
  /** How much may be in flight. */
  readonly capBytes: number;
  /** Largest payload of one turn: on a slow path a full frame would hold the next stream up. */
  readonly turnBytes: number;
  /** @param hungry more DATA waits for its turn: a rate that is measured now is the path's, not the streams'. */
  sent(bytes: number, hungry: boolean): void;
  /**
   * Takes a HOPACK.
   *
   * @returns whether it told anything new, which proves that the peer is alive.
   */
  acked(received: number): boolean;
  /** A round trip of PING and PONG, milliseconds. */
  roundTrip(ms: number): void;
  /**
   * The interval to ask of the peer when it should change: a third of the bytes that may be in flight, or less.
   *
   * @param onlyShorter a longer one may wait until there is something to acknowledge.
   */
  wantedEvery(onlyShorter?: boolean): number | undefined;
}

/** Bytes that may be in flight while the path is fast and short; and at the least, on a slow one. */
const SHORT_CAP_BYTES = 786_432;
const MIN_CAP_BYTES = 32_768;
/** On a slow path, the bytes that it carries in this time may wait in it. */
const SLOW_QUEUE_MS = 50;
/** The fastest of so many rounds is the path's rate. */
const RATE_ROUNDS = 8;
/** Shortest of so many round trips that were taken without load. */
const QUIET_TRIPS = 8;
const MIN_EVERY_BYTES = 8_192;
const MAX_EVERY_BYTES = 262_144;

/** DATA up to an offset, and the state when it went out. */
interface Flight {
  readonly end: number;
  readonly ackedThen: number;
  readonly ackedAtThen: number;
  readonly hungry: boolean;
}

/**
 * Follows rate and round trip of the hop: twice what the path carries in its shortest round trip may be in flight.
 *
 * A fixed cap would throttle a long path; none would let bulk fill buffers in front of every keystroke.
 */
export function createHopSender(options: HopWindowOptions, deps: { readonly clock: Clock }): HopSender {
  const enabled = options.enabled ?? true;
  const { clock } = deps;
  let sentBytes = 0;
  let ackedBytes = 0;
  let ackedAt = 0;
  let capBytes = SHORT_CAP_BYTES;
  let every = options.everyBytes ?? HOP_ACK_EVERY_BYTES;
  let flights: Flight[] = [];
  let lastFlightEnd = 0;
  let roundEnd = 0;
  // Bytes per millisecond, the newest round last.
  let rates: number[] = [0];
  let quietTrips: number[] = [];
  let shortestMs = Number.POSITIVE_INFINITY;

  function measure(received: number): void {
    let last: Flight | undefined;
    let index = 0;
    for (; index < flights.length; index += 1) {
      const flight = flights[index];
      if (flight === undefined || flight.end > received) break;
      last = flight;
    }
    if (last === undefined) return;
    flights = flights.slice(index);
    const elapsedMs = clock.monotonicNow() - last.ackedAtThen;
    if (elapsedMs <= 0) return;
    const rate = (received - last.ackedThen) / elapsedMs;
    const newest = rates.length - 1;
    // A rate that the streams set, not the path, counts only where it is higher than the known one.
    if (last.hungry || rate > Math.max(...rates)) rates[newest] = Math.max(rates[newest] ?? 0, rate);
    if (received >= roundEnd) {
      roundEnd = sentBytes;
      if ((rates[newest] ?? 0) > 0) rates = [...rates.slice(1 - RATE_ROUNDS), 0];
    }
  }

  function resize(): void {
    const rate = Math.max(...rates);
    if (rate === 0 || shortestMs === Number.POSITIVE_INFINITY) return;
    const short = Math.min(SHORT_CAP_BYTES, Math.max(MIN_CAP_BYTES, rate * SLOW_QUEUE_MS));
    capBytes = Math.max(short, 2 * rate * shortestMs);
  }

  return {
    get open() {
      return !enabled || sentBytes - ackedBytes < capBytes;
    },
    get inFlightBytes() {
      return sentBytes - ackedBytes;
    },
    get capBytes() {
      return capBytes;
    },
    get turnBytes() {
      return enabled ? Math.min(MAX_PAYLOAD_BYTES, Math.floor(capBytes / 4)) : MAX_PAYLOAD_BYTES;
    },
    sent(bytes, hungry) {
      if (sentBytes === ackedBytes) ackedAt = clock.monotonicNow();
      sentBytes += bytes;
      if (sentBytes - lastFlightEnd < MIN_EVERY_BYTES) return;
      lastFlightEnd = sentBytes;
      flights.push({ end: sentBytes, ackedThen: ackedBytes, ackedAtThen: ackedAt, hungry });
    },
    acked(received) {
      if (received <= ackedBytes || received > sentBytes) return false;
      measure(received);
      ackedBytes = received;
      ackedAt = clock.monotonicNow();
      resize();
      return true;
    },
    roundTrip(ms) {
      const quiet = sentBytes - ackedBytes < MIN_EVERY_BYTES;
      if (quiet) {
        quietTrips = [...quietTrips.slice(1 - QUIET_TRIPS), ms];
        shortestMs = Math.min(...quietTrips);
      } else {
        shortestMs = Math.min(shortestMs, ms);
      }
      resize();
    },
    wantedEvery(onlyShorter = false) {
      const third = 2 ** Math.floor(Math.log2(capBytes / 3));
      const wanted = Math.min(MAX_EVERY_BYTES, Math.max(MIN_EVERY_BYTES, third));
      if (!enabled || wanted === every || (onlyShorter && wanted > every)) return undefined;
      every = wanted;
      return wanted;
    },
  };
}

/** The receiving half: counts DATA and says when to acknowledge. */
export interface HopReceiver {
  readonly receivedBytes: number;
  /**
   * The peer asks for another interval; 0 keeps it.
   *
   * @returns the payload of a HOPACK when one is due by the new interval: the peer may wait for it.
   */
  setEvery(everyBytes: number): Uint8Array | undefined;
  /** @returns the payload of a HOPACK when one is due. */
  received(bytes: number): Uint8Array | undefined;
  /** The payload of a HOPACK that asks the peer for another interval. */
  ask(everyBytes: number): Uint8Array;
}

export function createHopReceiver(): HopReceiver {
  let every = HOP_ACK_EVERY_BYTES;
  let receivedBytes = 0;
  let ackedBytes = 0;

  function ackWhenDue(): Uint8Array | undefined {
    if (receivedBytes - ackedBytes < every) return undefined;
    ackedBytes = receivedBytes;
    return encodeHopAck({ received: receivedBytes, everyBytes: 0 });
  }

  return {
    get receivedBytes() {
      return receivedBytes;
    },
    setEvery(everyBytes) {
      if (everyBytes > 0) every = everyBytes;
      return ackWhenDue();
    },
    received(bytes) {
      receivedBytes += bytes;
      return ackWhenDue();
    },
    ask(everyBytes) {
      ackedBytes = receivedBytes;
      return encodeHopAck({ received: receivedBytes, everyBytes });
    },
  };
}
