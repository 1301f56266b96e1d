import type { SessionBudgets, SessionDeps } from "@cluster-connect/framing";
import type { InstanceId } from "@cluster-connect/protocol";
import type { Clock, Logger, Tracer } from "@cluster-connect/service";
import type { AuditLog } from "./audit/audit-log.ts";
import type { CallerSessions } from "./caller-sessions.ts";
import type { GrantBook } from "./grants/grant-book.ts";
import type { Known } from "./known.ts";
import type { LastSeen } from "./last-seen.ts";
import type { LiveStreams } from "./live-streams.ts";
import type { RelayMetrics } from "./metrics.ts";
import type { Peers } from "./peers/peers.ts";
import type { Quotas } from "./quota/quotas.ts";
import type { Rates } from "./quota/rates.ts";
import type { Registry } from "./registry.ts";
import type { Store } from "./store/store.ts";

/** What the parts of a running relay share. */
export interface RelayContext {
  readonly instanceId: InstanceId;
  /** Product and version. */
  readonly software: string;
  readonly store: Store;
  readonly registry: Registry;
  readonly known: Known;
  readonly peers: Peers;
  /** How many relays there are under the public name, this one included. */
  readonly liveRelays: () => number;
  readonly lastSeen: LastSeen;
  readonly streams: LiveStreams;
  readonly grants: GrantBook;
  readonly audit: AuditLog;
  readonly quotas: Quotas;
  readonly rates: Rates;
  /** Absent without a collector for traces. */
  readonly tracer: Tracer | undefined;
  readonly callers: CallerSessions;
  /** What all sessions together may hold. */
  readonly budgets: SessionBudgets;
  readonly maxStreamsPerSession: number;
  readonly metrics: RelayMetrics;
  readonly log: Logger;
  readonly clock: Clock;
  /** Clock and randomness of sessions. */
  readonly sessionDeps: SessionDeps;
}
