import type { Principal } from "@cluster-connect/auth";
import { createConcurrencyLimiter, createTokenBucket, type Release, takeAll } from "@cluster-connect/base";
import type { StreamRequest } from "@cluster-connect/framing";
import { ConnectError } from "@cluster-connect/protocol";
import { networkOf } from "../http/caller-address.ts";
import { callerKey } from "./caller-key.ts";
import type { LimitSettings } from "./limit-settings.ts";
import { createPacer } from "./pacer.ts";
import { createPreAuthLimiter, type TakeOptions } from "./pre-auth-limiter.ts";

/** A caller as quotas count them. */
export type QuotaCaller = Pick<Principal, "issuer" | "subject">;

/**
 * Keeps each caller, cluster and dialer within the relay's limits; of IPv6 a whole `/64` counts as one address. Every
 * refusal is `CC_LIMIT_REACHED`.
 */
export interface Quotas {
  /** @throws ConnectError also when the caller dials too many sessions per second; it says when the next is taken. */
  takeSession(caller: Principal): Release;
  /**
   * @param kind a RESUME does not count against opens: all streams of a caller may come back within a second.
   * @throws ConnectError also when the caller opens too many streams per second; it says when the next is taken.
   */
  takeStream(caller: QuotaCaller, clusterId: string, kind: StreamRequest["kind"]): Release;
  /** A socket without a request; `end` makes room for others, see {@link PreAuthLimiter}. */
  takeSocket(address: string | undefined, end: () => void, options?: TakeOptions): Release;
  /** A channel whose dialer has not proved anything yet; `end` as for a socket. */
  takeHandshake(address: string | undefined, end: () => void): Release;
  readonly silentSockets: number;
  readonly handshakes: number;
  /** A tunnel of an agent that has proved itself. */
  takeAgent(): Release;
  /** Paces agents that come back all at once; those of one address get no more than its share. */
  admitAgent(address: string | undefined): void;
  /** Paces requests for public documents, and for paths that are not there. */
  admitReader(address: string | undefined): void;
  /** Paces a caller's questions that cost a look at all clusters. */
  admitList(caller: Principal): void;
  /** Paces requests that change something and whose sender proves it in their body alone. */
  admitRequest(address: string | undefined): void;
}

/** Said to a caller whose places are all in use: one may be free soon. */
const RETRY_AFTER_MS = 1_000;
/** Many agents that were refused at once come again at different times. */
const SPREAD_MS = 10_000;
const ALL = "";
const UNKNOWN_ADDRESS = "unknown";
/** Of the agents' rate, for one address: many may come from behind one, and the others still find room. */
const ADDRESS_SHARE = 1 / 2;
/** Each costs a look into the store that all others wait for. A NAT still brings its many clusters in a minute. */
const REQUESTS_PER_SECOND = 50;
/** Documents that are made already: many people may sign in from behind one address. */
const READS_PER_SECOND = 100;

export function createQuotas(
  limits: LimitSettings,
  deps: { readonly now: () => number; readonly random: () => number },
): Quotas {
  const sessions = createConcurrencyLimiter(limits.sessions, refuseBeyond("sessions"));
  const callerSessions = createConcurrencyLimiter(limits.sessionsPerCaller, refuseBeyond("sessions of one caller"));
  const streams = createConcurrencyLimiter(limits.streams, refuseBeyond("streams"));
  const callerStreams = createConcurrencyLimiter(limits.streamsPerCaller, refuseBeyond("streams of one caller"));
  const clusterStreams = createConcurrencyLimiter(limits.streamsPerCluster, refuseBeyond("streams to one cluster"));
  const unproved = { all: limits.handshakes, perAddress: limits.handshakesPerAddress };
  const sockets = createPreAuthLimiter(unproved);
  const handshakes = createPreAuthLimiter(unproved);
  const agents = createConcurrencyLimiter(limits.agents, refuseBeyond("tunnels of agents"));
  const newAgents = createTokenBucket(limits.agentsPerSecond, {}, deps);
  const addressAgents = createPacer(Math.ceil(limits.agentsPerSecond * ADDRESS_SHARE), deps);
  const requests = createPacer(REQUESTS_PER_SECOND, deps);
  const begins = {
    open: createPacer(limits.opensPerSecondPerCaller, deps),
    resume: createPacer(limits.resumesPerSecondPerCaller, deps),
  };
  const readers = createPacer(READS_PER_SECOND, deps);
  const lists = createPacer(limits.listsPerSecondPerCaller, deps);
  const dials = createPacer(limits.dialsPerSecondPerCaller, deps);

  return {
    takeSession(caller) {
      const key = callerKey(caller);
      refuseEarly(dials.take(key), "Sessions are dialed too fast");
      return takeAll([() => callerSessions.take(key), () => sessions.take(ALL)]);
    },
    takeStream(caller, clusterId, kind) {
      const key = callerKey(caller);
      refuseEarly(begins[kind].take(key), "Streams are opened too fast");
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
    takeAgent: () => agents.take(ALL),
    admitAgent(address = UNKNOWN_ADDRESS) {
      // The address first: its refused agents take nothing from the others.
      const waitMs = addressAgents.take(networkOf(address)) || newAgents.take();
      refuseEarly(waitMs, "Many agents come at once", deps.random() * SPREAD_MS);
    },
    admitReader(address = UNKNOWN_ADDRESS) {
      refuseEarly(readers.take(networkOf(address)), "Requests come too fast from one address");
    },
    admitList(caller) {
      refuseEarly(lists.take(callerKey(caller)), "Clusters are asked for too often");
    },
    admitRequest(address = UNKNOWN_ADDRESS) {
      refuseEarly(requests.take(networkOf(address)), "Requests come too fast from one address");
    },
  };
}

/** @param waitMs 0 for one that is not early. @param spreadMs to come later than that. */
function refuseEarly(waitMs: number, text: string, spreadMs = 0): void {
  if (waitMs > 0) throw limitReached(text, waitMs + spreadMs);
}

function limitReached(text: string, retryAfterMs: number): ConnectError {
  return new ConnectError("CC_LIMIT_REACHED", text, { retryAfterMs: Math.ceil(retryAfterMs) });
}

/** @param what for the message, such as `sessions of one caller`. */
function refuseBeyond(what: string): (limit: number) => ConnectError {
  return (limit) => limitReached(`At most ${limit} ${what}`, RETRY_AFTER_MS);
}
