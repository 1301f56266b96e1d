import type { Clock, Timer } from "@cluster-connect/base";
import {
  decodeU64,
  encodeU64,
  PING_BUSY_INTERVAL_MS,
  PING_IDLE_INTERVAL_MS,
  PING_MISSES,
} from "@cluster-connect/protocol";

export interface KeepaliveOptions {
  /** Time between pings while streams are open. */
  readonly busyIntervalMs?: number;
  /** Time between pings while none is. */
  readonly idleIntervalMs?: number;
  /** How long a ping may be without an answer before it counts as missed and the next one goes out. */
  readonly answerTimeoutMs?: number;
}

/** So that two misses after a busy interval are noticed within 10 s, also where timers fire a little late. */
const DEFAULTS = {
  busyIntervalMs: PING_BUSY_INTERVAL_MS,
  idleIntervalMs: PING_IDLE_INTERVAL_MS,
  answerTimeoutMs: 2_200,
} as const;

/** The first pings of a session follow each other closely: the shortest of several tells the path's round trip. */
const FIRST_PINGS = 6;
const FIRST_INTERVAL_MS = 50;

/** After a suspicion, a ping that is not answered this soon counts as missed; on a long path, in three round trips. */
const PROBE_TIMEOUT_MS = 500;
const PROBE_TRIPS = 3;

/** A timer that fires this much late tells that this process, not the peer, was away. */
const LATE_MS = 1_000;

export interface KeepaliveDeps {
  readonly clock: Clock;
  /** Whether streams are open. */
  readonly busy: () => boolean;
  readonly ping: (payload: Uint8Array) => void;
  /** The peer did not answer `PING_MISSES` pings. */
  readonly dead: () => void;
}

export interface Keepalive {
  /** Smoothed round trip of PING and PONG, milliseconds. */
  readonly rttMs: number | undefined;
  start(): void;
  stop(): void;
  /** Pings now; for a suspicion that the network changed. */
  probe(): void;
  /** @returns the round trip, milliseconds, when this answers a ping. */
  pong(payload: Uint8Array): number | undefined;
  /** Other proof that the peer takes what is sent: a HOPACK that advances. */
  alive(): void;
  /** A stream was opened: an idle wait may be too long now. */
  wake(): void;
}

/** Pings at an interval; a ping that is not answered in time is followed by the next at once. */
export function createKeepalive(options: KeepaliveOptions, deps: KeepaliveDeps): Keepalive {
  const { busyIntervalMs, idleIntervalMs, answerTimeoutMs } = { ...DEFAULTS, ...options };
  const { clock } = deps;
  let timer: Timer | undefined;
  let dueAt = 0;
  let running = false;
  let number = 0;
  let misses = 0;
  let suspicious = false;
  let rttMs: number | undefined;
  // Numbers of the pings that were not answered yet, and when they went out.
  const waiting = new Map<number, number>();

  function schedule(delayMs: number): void {
    timer?.cancel();
    dueAt = clock.monotonicNow() + delayMs;
    timer = clock.setTimer(delayMs, fire);
  }

  function ping(): void {
    number += 1;
    waiting.set(number, clock.monotonicNow());
    deps.ping(encodeU64(number));
    schedule(suspicious ? Math.max(PROBE_TIMEOUT_MS, PROBE_TRIPS * (rttMs ?? 0)) : answerTimeoutMs);
  }

  function fire(): void {
    if (!running) return;
    if (waiting.size === 0 || clock.monotonicNow() - dueAt > LATE_MS) {
      ping();
      return;
    }
    misses += 1;
    if (misses >= PING_MISSES) {
      running = false;
      deps.dead();
    } else {
      ping();
    }
  }

  function answered(): void {
    misses = 0;
    suspicious = false;
    waiting.clear();
    if (number < FIRST_PINGS) schedule(FIRST_INTERVAL_MS);
    else schedule(deps.busy() ? busyIntervalMs : idleIntervalMs);
  }

  return {
    get rttMs() {
      return rttMs;
    },
    start() {
      running = true;
      ping();
    },
    stop() {
      running = false;
      timer?.cancel();
    },
    probe() {
      // One suspicion after the other must not put off the end of a peer that does not answer.
      if (!running || suspicious) return;
      suspicious = true;
      ping();
    },
    pong(payload) {
      const sentAt = waiting.get(decodeU64(payload));
      if (!running || sentAt === undefined) return undefined;
      const sample = clock.monotonicNow() - sentAt;
      rttMs = rttMs === undefined ? sample : rttMs * 0.875 + sample * 0.125;
      answered();
      return sample;
    },
    alive() {
      if (running && waiting.size > 0) answered();
    },
    wake() {
      if (running && waiting.size === 0 && dueAt - clock.monotonicNow() > busyIntervalMs) schedule(busyIntervalMs);
    },
  };
}
