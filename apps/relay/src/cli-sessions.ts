import { randomBytes } from "node:crypto";
import type { Principal } from "@cluster-connect/auth";
import { acceptSession, forwardStream, type IncomingStream, type MessageChannel } from "@cluster-connect/framing";
import { ConnectError, parseSessionId, toConnectError } from "@cluster-connect/protocol";
import { type Clock, errorFields, type Logger } from "@cluster-connect/service";
import type { CallerSessions } from "./caller-sessions.ts";
import type { Release } from "./quota/counted.ts";
import { forwardPaced, openWaitMs } from "./quota/forward-paced.ts";
import type { RelayContext } from "./relay-context.ts";
import { noteEnd } from "./stream-end.ts";
import { type CallerSession, type Route, rewriteRequest, routeStream } from "./stream-request.ts";
import { beginStreamSpan, withSpan } from "./tracing/stream-span.ts";

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
  context: RelayContext,
): ReturnType<typeof acceptSession> {
  const { principal, address } = caller;
  const sessionId = parseSessionId(randomBytes(16).toString("base64url"));
  const log = context.log.child({ sessionId, username: principal.username });
  const callerSession: CallerSession = { principal, address, sessionId };
  let count: CountStream = () => undefined;
  const session = acceptSession(
    channel,
    {
      role: "relay",
      instanceId: context.instanceId,
      software: context.software,
      limits: { maxStreams: context.maxStreamsPerSession },
      budgets: context.budgets,
      authenticate: async (hello) => {
        if (hello.role === "cli") return { sessionId };
        throw new ConnectError("CC_PROTOCOL", "Only a CLI opens a session here");
      },
      onStream: (incoming) => {
        forward(incoming, callerSession, count, context, log).catch((error: unknown) => {
          log.error({ event: "stream.failed", ...errorFields(error) }, "stream failed");
          incoming.reject("CC_INTERNAL", "The relay failed; its log says why");
        });
      },
    },
    context.sessionDeps,
  );
  const over = new AbortController();
  const { audit, clock } = context;
  const who = { actor: principal.username, sessionId, address };
  void session.closed.then((end) => {
    over.abort();
    const { bytesReceived: upBytes, bytesSent: downBytes } = session.counters;
    const code = end.code ?? "ok";
    audit.record({ event: "session.end", ...who, at: new Date(clock.now()), code, by: end.by, upBytes, downBytes });
    context.metrics.ended("cli", end.code ?? "ok");
    log.info({ event: "session.closed", code: end.code ?? "ok", reason: end.text, by: end.by }, "session closed");
  });
  session.ready.then(
    ({ peer: { software } }) => {
      log.info({ event: "session.open", address, software }, "session open");
      const since = new Date(clock.now());
      const { issuer, subject } = principal;
      audit.record({ event: "session.start", ...who, at: since, issuer, subject, software });
      count = context.callers.add({ id: sessionId, principal, address, software, since, session });
    },
    () => undefined,
  );
  void until(principal.expiresAt, over.signal, context.clock).then((expired) => {
    if (!expired) return;
    const text = "The token that opened the session has expired";
    session.goaway({ code: "CC_TOKEN_EXPIRED", text, deadlineMs: EXPIRY_GRACE_MS });
  });
  return session;
}

function hopOf(route: Route | undefined): "tunnel" | "peer" | "none" {
  if (route === undefined) return "none";
  return route.kind === "peer" ? "peer" : "tunnel";
}

/** Counts a stream for the caller's session. */
type CountStream = ReturnType<CallerSessions["add"]>;

async function forward(
  incoming: IncomingStream,
  caller: CallerSession,
  count: CountStream,
  context: RelayContext,
  log: Logger,
): Promise<void> {
  const { registry, grants, known, peers, clock, metrics } = context;
  const { request } = incoming;
  const startedAt = clock.now();
  let release: Release = () => undefined;
  let route: Route | undefined;
  const span = beginStreamSpan(context.tracer, request, context.instanceId);
  const first = request.kind === "open" ? request.open : request.resume;
  const ids = {
    clusterId: first.cluster,
    kind: request.kind,
    ...(request.kind === "open" ? { upstream: request.open.upstream, correlationId: request.open.correlationId } : {}),
  };
  try {
    context.audit.assertAccepting();
    release = context.quotas.takeStream(caller.principal, first.cluster);
    const rate = context.rates.of(caller.principal, first.cluster);
    const openMs = rate === undefined ? 0 : openWaitMs(rate);
    if (openMs > 0) await clock.wait(openMs, { signal: incoming.signal }).catch(() => undefined);
    const { version } = grants;
    route = await routeStream(request, caller, { registry, grants, known, peers });
    const forwarded = route.kind === "peer";
    const next = withSpan(rewriteRequest(request, caller, { forwarded }), span);
    const passing =
      rate === undefined
        ? forwardStream(incoming, route.session, next)
        : forwardPaced(incoming, route.session, next, { rate, clock: context.sessionDeps.clock });
    context.streams.add({ clusterId: first.cluster, principal: caller.principal, forward: passing, version });
    count(first.cluster, passing);
    await passing.answered;
    metrics.opened("ok", request.kind, hopOf(route));
    metrics.answered(clock.now() - startedAt);
    const to = route.kind === "peer" ? { peerId: route.peerId } : { agentInstanceId: route.agentInstanceId };
    log.info({ event: "stream.open", ...ids, ...to }, "stream open");
    noteEnd(passing, { ids, span, release, metrics, log });
  } catch (cause) {
    release();
    const { code, message, retryAfterMs } = toConnectError(cause);
    span?.end(code);
    metrics.opened(code, request.kind, hopOf(route));
    if (route?.kind === "peer" && code === "CC_FORWARD_LOOP") peers.wasWrong(route.peerId, first.cluster);
    if (code === "CC_INTERNAL") throw cause;
    log.info({ event: "stream.refused", ...ids, code, reason: message }, "stream refused");
    const { principal, sessionId } = caller;
    const refusal = { event: "stream.refused", actor: principal.username, sessionId, code };
    context.audit.refused({ ...refusal, at: new Date(clock.now()), clusterId: first.cluster });
    incoming.reject(code, message, retryAfterMs);
  }
}

/** Waits for a moment, however far away. @returns false when the signal came first. */
async function until(moment: Date, signal: AbortSignal, clock: Clock): Promise<boolean> {
  while (!signal.aborted) {
    const left = moment.getTime() - clock.now();
    if (left <= 0) return true;
    await clock.wait(Math.min(left, MAX_TIMER_MS), { signal }).catch(() => undefined);
  }
  return false;
}
