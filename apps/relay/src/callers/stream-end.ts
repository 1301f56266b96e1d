import type { Clock } from "@cluster-connect/base";
import type { Forward, StreamRequest } from "@cluster-connect/framing";
import type { ClusterId } from "@cluster-connect/protocol";
import type { Logger } from "@cluster-connect/service";
import type { AuditLog } from "../audit/audit-log.ts";
import { actorOf, type EndJournal } from "../audit/journal.ts";
import type { RelayMetrics } from "../observe/metrics.ts";
import type { CallerSession } from "./route-stream.ts";
import type { beginStreamSpan } from "./stream-span.ts";

/** Receivers of a stream's end. */
export interface EndNotes {
  /** Ids of the stream, for log and audit. */
  readonly ids: StreamIds;
  readonly openedAt: Date;
  readonly caller: CallerSession;
  readonly span: ReturnType<typeof beginStreamSpan>;
  /** Gives the stream's part of its caller's quota back. */
  readonly release: () => void;
  readonly metrics: Pick<RelayMetrics, "forwarded">;
  readonly audit: Pick<AuditLog, "stream">;
  readonly journal: Pick<EndJournal, "open">;
  readonly log: Logger;
  readonly clock: Clock;
}

/** A stream as log and audit name it. */
export interface StreamIds {
  readonly clusterId: ClusterId;
  readonly kind: StreamRequest["kind"];
  readonly upstream: string;
  /** Of a stream that begins here, and not of one that goes on. */
  readonly correlationId?: string;
}

/** Notes how a stream ends; on its own, so that an idle stream keeps nothing of how it began. */
export function noteEnd(passing: Pick<Forward, "done" | "progress">, notes: EndNotes): void {
  const { ids, openedAt, caller, span, release, metrics, audit, journal, log, clock } = notes;
  const { principal, sessionId, address } = caller;
  const entry = { event: "stream.end", actor: actorOf(principal), sessionId, address, ...ids, openedAt };
  const forget = journal.open(entry, () => passing.progress);
  void passing.done.then(({ error, upBytes, downBytes }) => {
    release();
    forget();
    const code = error?.code ?? "ok";
    metrics.forwarded(upBytes, downBytes);
    span?.end(code, { "cluster_connect.up_bytes": upBytes, "cluster_connect.down_bytes": downBytes });
    audit.stream({ ...entry, at: new Date(clock.now()), code, upBytes, downBytes });
    log.info({ event: "stream.closed", ...ids, code, upBytes, downBytes }, "stream closed");
  });
}
