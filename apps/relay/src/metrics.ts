import type { Metrics } from "@cluster-connect/service";
import type { LiveStreams } from "./live-streams.ts";
import type { Registry } from "./registry.ts";

/** What the relay counts. */
export interface RelayMetrics {
  /** A stream that a caller asked for, by what became of it: `ok` or an error code. */
  readonly opened: (result: string) => void;
  /** A session that ended, by role and code. */
  readonly ended: (role: "agent" | "cli" | "peer", code: string) => void;
  /** Bytes of a forwarded stream, once it has ended. */
  readonly forwarded: (upBytes: number, downBytes: number) => void;
  /** From OPEN to the agent's answer. */
  readonly answered: (ms: number) => void;
}

const ANSWER_BUCKETS_SECONDS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

export function createRelayMetrics(
  metrics: Metrics,
  live: { readonly registry: Registry; readonly streams: LiveStreams; readonly cliSessions: () => number },
): RelayMetrics {
  const opens = metrics.counter("stream_opens_total", "Streams that callers asked for, by result.", ["result"]);
  const ends = metrics.counter("sessions_ended_total", "Sessions that ended, by role and code.", ["role", "code"]);
  const bytes = metrics.counter("forwarded_bytes_total", "Bytes of ended streams, by direction.", ["direction"]);
  const answers = metrics.histogram(
    "stream_answer_seconds",
    "From OPEN to the agent's answer.",
    ANSWER_BUCKETS_SECONDS,
  );
  metrics.observe("tunnels", "Agent tunnels that are open.", () => live.registry.tunnels().length);
  metrics.observe("cli_sessions", "Sessions of CLIs that are open.", live.cliSessions);
  metrics.observe("streams", "Streams that pass through now.", () => live.streams.size);
  return {
    opened: (result) => opens.inc({ result }),
    ended: (role, code) => ends.inc({ role, code }),
    forwarded: (upBytes, downBytes) => {
      bytes.inc({ direction: "up" }, upBytes);
      bytes.inc({ direction: "down" }, downBytes);
    },
    answered: (ms) => answers.observe(ms / 1_000),
  };
}
