import type { Forward } from "@cluster-connect/framing";
import type { Logger } from "@cluster-connect/service";
import type { RelayContext } from "./relay-context.ts";
import type { beginStreamSpan } from "./tracing/stream-span.ts";

/** Whom the end of a stream is told. */
export interface EndNotes {
  /** For the log: what the stream is. */
  readonly ids: Readonly<Record<string, unknown>>;
  readonly span: ReturnType<typeof beginStreamSpan>;
  /** Gives back what the stream took of its caller's quota. */
  readonly release: () => void;
  readonly metrics: Pick<RelayContext["metrics"], "forwarded">;
  readonly log: Logger;
}

/** Notes how a stream ends; on its own, so that an idle stream keeps nothing of how it began. */
export function noteEnd(passing: Pick<Forward, "done">, { ids, span, release, metrics, log }: EndNotes): void {
  void passing.done.then(({ error, upBytes, downBytes }) => {
    release();
    const code = error?.code ?? "ok";
    metrics.forwarded(upBytes, downBytes);
    span?.end(code, { "cluster_connect.up_bytes": upBytes, "cluster_connect.down_bytes": downBytes });
    log.info({ event: "stream.closed", ...ids, code, upBytes, downBytes }, "stream closed");
  });
}
