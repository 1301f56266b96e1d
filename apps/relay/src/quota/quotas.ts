import type { Principal } from "@cluster-connect/auth";
import { ConnectError } from "@cluster-connect/protocol";
import { createCounted, type Release, takeAll } from "./counted.ts";
import type { LimitSettings } from "./limit-settings.ts";
import { createTokenBucket, type TokenBucket } from "./token-bucket.ts";

/** Keeps each caller, cluster and dialer within the relay's limits. Every refusal is `CC_LIMIT_REACHED`. */
export interface Quotas {
  takeSession(caller: Principal): Release;
  /** @throws ConnectError also when the caller opens too many streams per second; it says when the next is taken. */
  takeStream(caller: Principal, clusterId: string): Release;
  /** A channel whose dialer has not proved anything yet. */
  takeHandshake(address: string | undefined): Release;
  /** Paces agents that come back all at once. */
  admitAgent(): void;
}

/** Many agents that were refused at once come again at different times. */
const SPREAD_MS = 10_000;
const ALL = "";
const MAX_BUCKETS = 10_000;

export function createQuotas(
  limits: LimitSettings,
  deps: { readonly now: () => number; readonly random: () => number },
): Quotas {
  const sessions = createCounted(limits.sessions, "sessions");
  const callerSessions = createCounted(limits.sessionsPerCaller, "sessions of one caller");
  const streams = createCounted(limits.streams, "streams");
  const callerStreams = createCounted(limits.streamsPerCaller, "streams of one caller");
  const clusterStreams = createCounted(limits.streamsPerCluster, "streams to one cluster");
  const handshakes = createCounted(limits.handshakes, "channels that have not proved anything");
  const addressHandshakes = createCounted(limits.handshakesPerAddress, "such channels from one address");
  const agents = createTokenBucket(limits.agentsPerSecond, deps);
  const opens = new Map<string, TokenBucket>();

  const bucketOf = (key: string): TokenBucket => {
    const known = opens.get(key);
    if (known !== undefined) return known;
    if (opens.size >= MAX_BUCKETS) for (const [other, bucket] of opens) if (bucket.idle) opens.delete(other);
    const bucket = createTokenBucket(limits.opensPerSecondPerCaller, deps);
    opens.set(key, bucket);
    return bucket;
  };

  return {
    takeSession(caller) {
      const key = keyOf(caller);
      return takeAll([() => callerSessions.take(key), () => sessions.take(ALL)]);
    },
    takeStream(caller, clusterId) {
      const key = keyOf(caller);
      const waitMs = bucketOf(key).take();
      if (waitMs > 0) throw limited("Streams are opened too fast", waitMs);
      return takeAll([() => callerStreams.take(key), () => clusterStreams.take(clusterId), () => streams.take(ALL)]);
    },
    takeHandshake(address = "unknown") {
      return takeAll([() => addressHandshakes.take(address), () => handshakes.take(ALL)]);
    },
    admitAgent() {
      const waitMs = agents.take();
      if (waitMs > 0) throw limited("Many agents come at once", waitMs + deps.random() * SPREAD_MS);
    },
  };
}

/** Names are an issuer's own; two issuers may have the same. */
function keyOf({ issuer, subject }: Principal): string {
  return `${issuer}\n${subject}`;
}

function limited(text: string, retryAfterMs: number): ConnectError {
  return new ConnectError("CC_LIMIT_REACHED", text, { retryAfterMs: Math.ceil(retryAfterMs) });
}
