import type { Principal } from "@cluster-connect/auth";
import { ConnectError } from "@cluster-connect/protocol";
import { networkOf } from "../caller-address.ts";
import { callerKey } from "./caller-key.ts";
import { createCounted, type Release, takeAll } from "./counted.ts";
import { createKeyedBuckets } from "./keyed-buckets.ts";
import type { LimitSettings } from "./limit-settings.ts";
import { createTokenBucket } from "./token-bucket.ts";
import { createUnproved, type TakeOptions } from "./unproved.ts";

/**
 * Keeps each caller, cluster and dialer within the relay's limits; of IPv6 a whole `/64` counts as one address. Every
 * refusal is `CC_LIMIT_REACHED`.
 */
export interface Quotas {
  takeSession(caller: Principal): Release;
  /** @throws ConnectError also when the caller opens too many streams per second; it says when the next is taken. */
  takeStream(caller: Principal, clusterId: string): Release;
  /** A socket without a request; `end` makes room for others, see {@link Unproved}. */
  takeSocket(address: string | undefined, end: () => void, options?: TakeOptions): Release;
  /** A channel whose dialer has not proved anything yet; `end` as for a socket. */
  takeHandshake(address: string | undefined, end: () => void): Release;
  readonly silentSockets: number;
  readonly handshakes: number;
  /** Paces agents that come back all at once; those of one address get no more than its share. */
  admitAgent(address: string | undefined): void;
  /** Paces requests that change something and whose sender proves it in their body alone. */
  admitRequest(address: string | undefined): void;
}

/** Many agents that were refused at once come again at different times. */
const SPREAD_MS = 10_000;
const ALL = "";
const UNKNOWN_ADDRESS = "unknown";
/** Of the agents' rate, for one address: many may come from behind one, and the others still find room. */
const ADDRESS_SHARE = 1 / 2;
/** Each costs a look into the store, which everybody waits for; a NAT with many clusters still brings them in a minute. */
const REQUESTS_PER_SECOND = 50;

export function createQuotas(
  limits: LimitSettings,
  deps: { readonly now: () => number; readonly random: () => number },
): Quotas {
  const sessions = createCounted(limits.sessions, "sessions");
  const callerSessions = createCounted(limits.sessionsPerCaller, "sessions of one caller");
  const streams = createCounted(limits.streams, "streams");
  const callerStreams = createCounted(limits.streamsPerCaller, "streams of one caller");
  const clusterStreams = createCounted(limits.streamsPerCluster, "streams to one cluster");
  const unproved = { all: limits.handshakes, perAddress: limits.handshakesPerAddress };
  const sockets = createUnproved(unproved);
  const handshakes = createUnproved(unproved);
  const agents = createTokenBucket(limits.agentsPerSecond, deps);
  const addressAgents = createKeyedBuckets(Math.ceil(limits.agentsPerSecond * ADDRESS_SHARE), deps);
  const requests = createKeyedBuckets(REQUESTS_PER_SECOND, deps);
  const opens = createKeyedBuckets(limits.opensPerSecondPerCaller, deps);

  return {
    takeSession(caller) {
      const key = callerKey(caller);
      return takeAll([() => callerSessions.take(key), () => sessions.take(ALL)]);
    },
    takeStream(caller, clusterId) {
      const key = callerKey(caller);
      const waitMs = opens(key).take();
      if (waitMs > 0) throw limited("Streams are opened too fast", waitMs);
      return takeAll([() => callerStreams.take(key), () => clusterStreams.take(clusterId), () => streams.take(ALL)]);
    },
    takeSocket: (address = UNKNOWN_ADDRESS, end, options) => sockets.take(networkOf(address), end, options),
    takeHandshake: (address = UNKNOWN_ADDRESS, end) => handshakes.take(networkOf(address), end),
    get silentSockets() {
      return sockets.size;
    },
    get handshakes() {
      return handshakes.size;
    },
    admitAgent(address = UNKNOWN_ADDRESS) {
      // The address first: what it is refused takes nothing from the others.
      const waitMs = addressAgents(networkOf(address)).take() || agents.take();
      if (waitMs > 0) throw limited("Many agents come at once", waitMs + deps.random() * SPREAD_MS);
    },
    admitRequest(address = UNKNOWN_ADDRESS) {
      const waitMs = requests(networkOf(address)).take();
      if (waitMs > 0) throw limited("Requests come too fast from one address", waitMs);
    },
  };
}

function limited(text: string, retryAfterMs: number): ConnectError {
  return new ConnectError("CC_LIMIT_REACHED", text, { retryAfterMs: Math.ceil(retryAfterMs) });
}
