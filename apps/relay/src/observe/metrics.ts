import type { Metrics } from "@cluster-connect/service";

/** Counters of the relay. */
export interface RelayMetrics {
  /**
   * A stream that a caller asked for, by its result (`ok` or an error code), by kind (new or going on) and by the next
   * hop. The hop is a tunnel of this relay, another relay, or none when there was no way.
   */
  readonly opened: (result: string, kind: "open" | "resume", hop: "tunnel" | "peer" | "none") => void;
  /** From the upgrade request to the end of the handshake. */
  readonly shookHands: (role: "agent" | "cli", ms: number) => void;
  /** A channel that was refused before the 101. */
  readonly refusedUpgrade: (code: string) => void;
  /** A session that ended, by role and code. */
  readonly ended: (role: "agent" | "cli" | "peer", code: string) => void;
  /** Bytes of a forwarded stream, once it has ended. */
  readonly forwarded: (upBytes: number, downBytes: number) => void;
  /** From OPEN to the agent's answer. */
  readonly answered: (ms: number) => void;
}

const ANSWER_BUCKETS_SECONDS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

export function createRelayMetrics(metrics: Metrics): RelayMetrics {
  const opens = metrics.counter("stream_opens_total", "Streams that callers asked for, by result, kind and next hop.", [
    "result",
    "kind",
    "hop",
  ]);
  const upgrades = metrics.counter("upgrades_refused_total", "Channels that were refused before the 101, by code.", [
    "code",
  ]);
  const handshakes = metrics.histogram(
    "handshake_seconds",
    "From the upgrade request to the end of the handshake, by role.",
    ANSWER_BUCKETS_SECONDS,
    ["role"],
  );
  const ends = metrics.counter("sessions_ended_total", "Sessions that ended, by role and code.", ["role", "code"]);
  const bytes = metrics.counter("forwarded_bytes_total", "Bytes of ended streams, by direction.", ["direction"]);
  const answers = metrics.histogram(
    "stream_answer_seconds",
    "From OPEN to the agent's answer.",
    ANSWER_BUCKETS_SECONDS,
  );
  return {
    opened: (result, kind, hop) => opens.inc({ result, kind, hop }),
    shookHands: (role, ms) => handshakes.observe({ role }, ms / 1_000),
    refusedUpgrade: (code) => upgrades.inc({ code }),
    ended: (role, code) => ends.inc({ role, code }),
    forwarded: (upBytes, downBytes) => {
      bytes.inc({ direction: "up" }, upBytes);
      bytes.inc({ direction: "down" }, downBytes);
    },
    answered: (ms) => answers.observe(ms / 1_000),
  };
}
