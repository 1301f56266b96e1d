import { isTrustedIssuer, type Principal, type TokenVerifier } from "@cluster-connect/auth";
import { type Clock, repeat } from "@cluster-connect/base";
import type { Forward, Session } from "@cluster-connect/framing";
import type { ClusterId, InstanceId, SessionId } from "@cluster-connect/protocol";
import { errorFields, type Logger } from "@cluster-connect/service";
import { dropSessionRows, findEndRequests, type SessionRow, writeSessionRows } from "../store/queries/sessions.ts";
import type { Store } from "../store/store.ts";

/** A caller's session while it is open. */
export interface LedgerEntry {
  readonly id: SessionId;
  readonly principal: Principal;
  readonly address: string | undefined;
  readonly software: string;
  readonly since: Date;
  readonly session: Session;
}

/** A session's use of one cluster; bytes of streams that have ended. */
interface ClusterUse {
  openStreams: number;
  streams: number;
  upBytes: number;
  downBytes: number;
}

/** Callers' sessions of this relay, written down. Administrators at any relay read them and may ask for their end. */
export interface SessionLedger {
  /** Keeps a session until it has ended. @returns counts a stream of it. */
  add(record: LedgerEntry): (clusterId: ClusterId, forward: Pick<Forward, "done">) => void;
  run(options: { readonly intervalMs?: number; readonly signal: AbortSignal }): Promise<void>;
}

/** Below the five seconds in which a session has to end once an administrator asked for it. */
const INTERVAL_MS = 2_000;
/** Rows of sessions that only go on are brought up to date less often. */
const WRITE_INTERVAL_MS = 10_000;
const ENDED_TEXT = "An administrator ended the session";
const UNTRUSTED_TEXT = "The issuer of the token that opened the session is no longer trusted";
const REFUSED_TEXT = "The token that opened the session would not be accepted any more";

export function createSessionLedger(deps: {
  readonly verifier: Pick<TokenVerifier, "status" | "holds">;
  readonly store: Store;
  readonly instanceId: InstanceId;
  readonly log: Logger;
  readonly clock: Clock;
}): SessionLedger {
  const { verifier, store, instanceId, log, clock } = deps;
  const open = new Map<string, { readonly record: LedgerEntry; readonly uses: Map<ClusterId, ClusterUse> }>();
  const fresh = new Set<string>();
  const ended = new Set<string>();
  let writtenAt = 0;
  let failing = false;

  function end({ id, principal, session }: LedgerEntry, text: string): void {
    log.warn({ event: "session.ended", sessionId: id, username: principal.username }, text);
    session.close("CC_SESSION_ENDED", text);
  }

  function endUntrusted(): void {
    for (const { record } of [...open.values()]) {
      if (verifier.holds(record.principal)) continue;
      const isTrusted = isTrustedIssuer(verifier, record.principal.issuer);
      end(record, isTrusted ? REFUSED_TEXT : UNTRUSTED_TEXT);
    }
  }

  async function sync(): Promise<void> {
    endUntrusted();
    try {
      const now = clock.now();
      const all = now - writtenAt >= WRITE_INTERVAL_MS;
      const written = [...open].filter(([id]) => all || fresh.has(id));
      const gone = [...ended];
      await writeSessionRows(
        store.db,
        written.map(([, { record, uses }]) => rowOf(record, uses, instanceId, new Date(now))),
      );
      await dropSessionRows(store.db, gone);
      if (all) writtenAt = now;
      for (const [id] of written) fresh.delete(id);
      for (const id of gone) ended.delete(id);
      for (const id of await findEndRequests(store.db, instanceId)) {
        const found = open.get(id);
        if (found !== undefined) end(found.record, ENDED_TEXT);
      }
      failing = false;
    } catch (error) {
      if (!failing)
        log.error({ event: "sessions.failed", ...errorFields(error) }, "sessions could not be written down");
      failing = true;
    }
  }

  return {
    add(record) {
      const { id } = record;
      const uses = new Map<ClusterId, ClusterUse>();
      open.set(id, { record, uses });
      fresh.add(id);
      void record.session.closed.then(() => {
        open.delete(id);
        fresh.delete(id);
        ended.add(id);
      });
      return (clusterId, forward) => {
        const use = uses.get(clusterId) ?? { openStreams: 0, streams: 0, upBytes: 0, downBytes: 0 };
        uses.set(clusterId, use);
        use.openStreams += 1;
        use.streams += 1;
        fresh.add(id);
        void forward.done.then(({ upBytes, downBytes }) => {
          use.openStreams -= 1;
          use.upBytes += upBytes;
          use.downBytes += downBytes;
        });
      };
    },
    async run({ intervalMs = INTERVAL_MS, signal }) {
      await repeat(sync, { intervalMs, signal }, { clock });
      await sync();
    },
  };
}

function rowOf(
  record: LedgerEntry,
  uses: ReadonlyMap<ClusterId, ClusterUse>,
  relayId: InstanceId,
  now: Date,
): SessionRow {
  const { principal, session } = record;
  const { bytesReceived, bytesSent } = session.counters;
  return {
    id: record.id,
    relay_id: relayId,
    issuer: principal.issuer,
    subject: principal.subject,
    username: principal.username,
    address: record.address ?? null,
    software: record.software,
    since: record.since.toISOString(),
    expires_at: principal.expiresAt.toISOString(),
    clusters: JSON.stringify({ upBytes: bytesReceived, downBytes: bytesSent, clusters: Object.fromEntries(uses) }),
    updated_at: now.toISOString(),
  };
}
