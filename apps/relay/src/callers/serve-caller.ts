import type { Principal } from "@cluster-connect/auth";
import { type Clock, type Release, wait } from "@cluster-connect/base";
import {
  acceptSession,
  forwardStream,
  type IncomingStream,
  type MessageChannel,
  type SessionBudgets,
  type SessionDeps,
} from "@cluster-connect/framing";
import { ConnectError, type InstanceId, toConnectError, UPSTREAM_KUBERNETES } from "@cluster-connect/protocol";
import { errorFields, type Logger, type Tracer } from "@cluster-connect/service";
import type { AuditLog } from "../audit/audit-log.ts";
import { actorOf, type EndJournal } from "../audit/journal.ts";
import type { GrantBook } from "../grants/grant-book.ts";
import type { RelayIds } from "../ids.ts";
import type { RelayMetrics } from "../observe/metrics.ts";

import { forwardPaced, openWaitMs } from "../quota/forward-paced.ts";
import type { Quotas } from "../quota/quotas.ts";
import type { Rates } from "../quota/rates.ts";
import {
  type CallerSession,
  type RouteDeps,
  rewriteRequest,
  routeStream,
  type StreamRoute,
  upstreamOf,
} from "./route-stream.ts";
import type { SessionLedger } from "./session-ledger.ts";
import { noteEnd, type StreamIds } from "./stream-end.ts";
import { beginStreamSpan, withSpan } from "./stream-span.ts";
import type { StreamsUnderWay } from "./streams-under-way.ts";

/** Dependencies of a caller's session on its relay. */
export interface CallerSessionDeps extends RouteDeps {
  readonly instanceId: InstanceId;
  /** Product and version. */
  readonly software: string;
  readonly grants: Pick<GrantBook, "decide" | "version">;
  readonly streams: Pick<StreamsUnderWay, "add">;
  readonly ledger: Pick<SessionLedger, "add">;
  readonly audit: AuditLog;
  readonly journal: Pick<EndJournal, "open">;
  readonly quotas: Pick<Quotas, "takeStream">;
  readonly rates: Rates;
  /** Bytes that all sessions together may hold. */
  readonly budgets: SessionBudgets;
  readonly maxStreamsPerSession: number;
  /** Absent without a collector for traces. */
  readonly tracer: Tracer | undefined;
  readonly metrics: RelayMetrics;
  readonly ids: RelayIds;
  readonly log: Logger;
  readonly clock: Clock;
  /** Clock and randomness of sessions. */
  readonly sessionDeps: SessionDeps;
}

/** From the end of the caller's token to the end of the channel; the CLI moves its streams meanwhile. */
const EXPIRY_GRACE_MS = 5_000;
/** Longest single wait that a timer takes. */
const MAX_TIMER_MS = 2_147_000_000;

/**
 * Runs the session of one caller: each stream is checked and joined with one in an agent's tunnel.
 *
 * @param caller verified before the channel was opened.
 * @returns the session at once; it ends by itself, at the latest when the caller's token does.
 */
export function serveCaller(
  channel: MessageChannel,
  caller: { readonly principal: Principal; readonly address: string | undefined },
  deps: CallerSessionDeps,
): ReturnType<typeof acceptSession> {
  const { principal, address } = caller;
  const sessionId = deps.ids.sessionId();
  const log = deps.log.child({ sessionId, username: principal.username });
  const callerSession: CallerSession = { principal, address, sessionId };
  let count: CountStream = () => undefined;
  const session = acceptSession(
    channel,
    {
      role: "relay",
      instanceId: deps.instanceId,
      software: deps.software,
      limits: { maxStreams: deps.maxStreamsPerSession },
      budgets: deps.budgets,
      authenticate: async (hello) => {
        if (hello.role === "cli") return { sessionId };
        throw new ConnectError("CC_PROTOCOL", "Only a CLI opens a session here");
      },
      onStream: (incoming) => {
        forwardCallerStream(incoming, callerSession, count, deps, log).catch((error: unknown) => {
          log.error({ event: "stream.failed", ...errorFields(error) }, "stream failed");
          incoming.reject("CC_INTERNAL", "The relay failed; its log says why");
        });
      },
    },
    deps.sessionDeps,
  );
  const over = new AbortController();
  const { audit, clock } = deps;
  const who = { actor: principal, sessionId, address };
  let forget: Release = () => undefined;
  void session.closed.then((end) => {
    over.abort();
    forget();
    const { bytesReceived: upBytes, bytesSent: downBytes } = session.counters;
    const code = end.code ?? "ok";
    audit.record({ event: "session.end", ...who, at: new Date(clock.now()), code, by: end.by, upBytes, downBytes });
    deps.metrics.ended("cli", end.code ?? "ok");
    log.info({ event: "session.closed", code: end.code ?? "ok", reason: end.text, by: end.by }, "session closed");
  });
  session.ready.then(
    ({ peer: { software } }) => {
      log.info({ event: "session.open", address, software }, "session open");
      const since = new Date(clock.now());
      audit.record({ event: "session.start", ...who, at: since, software });
      if (!over.signal.aborted)
        forget = deps.journal.open({ event: "session.end", ...who, actor: actorOf(principal) }, () => {
          const { bytesReceived: upBytes, bytesSent: downBytes } = session.counters;
          return { upBytes, downBytes };
        });
      count = deps.ledger.add({ id: sessionId, principal, address, software, since, session });
    },
    () => undefined,
  );
  void until(principal.expiresAt, over.signal, deps.clock).then((expired) => {
    if (!expired) return;
    const text = "The token that opened the session has expired";
    session.goaway({ code: "CC_TOKEN_EXPIRED", text, deadlineMs: EXPIRY_GRACE_MS });
  });
  return session;
}

function hopOf(route: StreamRoute | undefined): "tunnel" | "peer" | "none" {
  if (route === undefined) return "none";
  return route.kind === "peer" ? "peer" : "tunnel";
}

/** Counts a stream for the caller's session. */
type CountStream = ReturnType<SessionLedger["add"]>;

async function forwardCallerStream(
  incoming: IncomingStream,
  caller: CallerSession,
  count: CountStream,
  deps: CallerSessionDeps,
  log: Logger,
): Promise<void> {
  const { registry, grants, cache, peers, clock, metrics } = deps;
  const { request } = incoming;
  const startedAt = clock.now();
  let release: Release = () => undefined;
  let route: StreamRoute | undefined;
  const span = beginStreamSpan(deps.tracer, request, deps.instanceId);
  const first = request.kind === "open" ? request.open : request.resume;
  const ids: StreamIds = {
    clusterId: first.cluster,
    kind: request.kind,
    upstream: first.upstream ?? UPSTREAM_KUBERNETES,
    ...(request.kind === "open" ? { correlationId: request.open.correlationId } : {}),
  };
  try {
    deps.audit.assertAccepting();
    release = deps.quotas.takeStream(caller.principal, first.cluster, request.kind);
    const rate = deps.rates.of(caller.principal, first.cluster);
    const openMs = rate === undefined ? 0 : openWaitMs(rate);
    if (openMs > 0) await wait(openMs, { signal: incoming.signal }, { clock }).catch(() => undefined);
    const { version } = grants;
    route = await routeStream(request, caller, { registry, grants, cache, peers });
    const viaPeer = route.kind === "peer";
    const next = withSpan(rewriteRequest(request, caller, { viaPeer }), span);
    const passing =
      rate === undefined
        ? forwardStream(incoming, route.session, next)
        : forwardPaced(incoming, route.session, next, { rate, clock: deps.sessionDeps.clock });
    const upstream = upstreamOf(request);
    deps.streams.add({ clusterId: first.cluster, upstream, principal: caller.principal, forward: passing, version });
    count(first.cluster, passing);
    await passing.answered;
    metrics.opened("ok", request.kind, hopOf(route));
    metrics.answered(clock.now() - startedAt);
    const to = route.kind === "peer" ? { peerId: route.peerId } : { agentInstanceId: route.agentInstanceId };
    log.info({ event: "stream.open", ...ids, ...to }, "stream open");
    const openedAt = new Date(startedAt);
    noteEnd(passing, {
      ids,
      openedAt,
      caller,
      span,
      release,
      metrics,
      audit: deps.audit,
      journal: deps.journal,
      log,
      clock,
    });
  } catch (cause) {
    release();
    const { code, message, retryAfterMs } = toConnectError(cause);
    span?.end(code);
    metrics.opened(code, request.kind, hopOf(route));
    if (route?.kind === "peer" && code === "CC_PEER_LOOP") peers.wasWrong(route.peerId, first.cluster);
    if (code === "CC_INTERNAL") throw cause;
    log.info({ event: "stream.refused", ...ids, code, reason: message }, "stream refused");
    const { principal, sessionId } = caller;
    const { clusterId, kind, upstream } = ids;
    const refusal = { event: "stream.refused", actor: principal, sessionId, code, clusterId, kind, upstream };
    deps.audit.refused({ ...refusal, at: new Date(clock.now()) });
    incoming.reject(code, message, retryAfterMs);
  }
}

/** Waits for a moment, however far away. @returns false when the signal came first. */
async function until(moment: Date, signal: AbortSignal, clock: Clock): Promise<boolean> {
  while (!signal.aborted) {
    const left = moment.getTime() - clock.now();
    if (left <= 0) return true;
    await wait(Math.min(left, MAX_TIMER_MS), { signal }, { clock }).catch(() => undefined);
  }
  return false;
}
