import type { AddressInfo } from "node:net";
import type { TokenVerifier } from "@cluster-connect/auth";
import { MAX_STREAMS } from "@cluster-connect/protocol";
import { listenOn, type Metrics, openTracer, startHealthServer } from "@cluster-connect/service";
import { compileAdmins } from "./admin/admins.ts";
import { openNotifications } from "./admin/notifications.ts";
import { createStatusFeed } from "./admin/status-feed.ts";
import { createStatusWatch } from "./admin/status-watch.ts";
import { openAudit } from "./audit/open.ts";
import { createAuthenticate } from "./authenticate.ts";
import { type CallerAddress, createCallerAddress } from "./caller-address.ts";
import { createCallerSessions } from "./caller-sessions.ts";
import { acceptChannels } from "./channels.ts";
import type { RelayConfig } from "./config.ts";
import { openGrants } from "./grants/open.ts";
import { createHttpApi, type HttpApiDeps } from "./http-api.ts";
import { createLastSeen } from "./last-seen.ts";
import { createLiveStreams } from "./live-streams.ts";
import { createRelayMetrics } from "./metrics.ts";
import { createFleet } from "./peers/fleet.ts";
import { createBudgets } from "./quota/budgets.ts";
import { createQuotas } from "./quota/quotas.ts";
import { createRates } from "./quota/rates.ts";
import { Registry } from "./registry.ts";
import type { RelayContext } from "./relay-context.ts";
import { createRelayHealth } from "./relay-health.ts";
import { watchRevocations } from "./revocation.ts";
import { createRelayServer } from "./server.ts";
import { createSessionSet } from "./session-set.ts";
import { watchSharedKeys } from "./shared-keys.ts";
import { boundSilentSockets } from "./silent-sockets.ts";

/** What a relay is made with. Whoever opened the store closes it. */
export interface RelayDeps
  extends Omit<
    RelayContext,
    | "registry"
    | "lastSeen"
    | "streams"
    | "metrics"
    | "grants"
    | "known"
    | "peers"
    | "liveRelays"
    | "audit"
    | "quotas"
    | "rates"
    | "tracer"
    | "callers"
    | "budgets"
    | "maxStreamsPerSession"
  > {
  readonly verifier: TokenVerifier;
  readonly metrics: Metrics;
}

export interface RunningRelay {
  readonly address: AddressInfo;
  /** Where metrics are served when they have a port of their own. */
  readonly metricsAddress: AddressInfo | undefined;
  readonly registry: Registry;
  /** GOAWAY to everybody; resolves when every session has ended, at the latest at the deadline or when aborted. */
  drain(options: { readonly deadlineMs: number; readonly signal: AbortSignal }): Promise<void>;
  /** Ends everything now. */
  close(): Promise<void>;
}

/**
 * Starts a relay.
 *
 * @throws ConnectError `CC_PORT_IN_USE`, or of a file that the settings name.
 */
export async function startRelay(config: RelayConfig, deps: RelayDeps): Promise<RunningRelay> {
  const { log, clock, store, verifier } = deps;
  const statuses = createStatusFeed();
  const registry = new Registry({
    now: clock.now,
    onChange: () => fleet.changed(),
    onState: (clusterId, state, reason) => {
      log.info({ event: "cluster.state", clusterId, state, ...(reason && { reason }) }, "cluster state");
      statusWatch.touch(clusterId);
    },
  });
  const notifications = await openNotifications(config, deps);
  const statusWatch = createStatusWatch({
    ...{ store, instanceId: deps.instanceId, log, clock, feed: statuses, teller: notifications.teller },
    onNoted: notifications.look,
  });
  const fleet = await createFleet(config, { ...deps, registry, onWritten: statusWatch.written });
  const [agents, callers] = [createSessionSet(), createSessionSet()];
  const grants = await openGrants(config, { store, clock, log });
  const streams = createLiveStreams({ grants, log, clock });
  const metrics = createRelayMetrics(deps.metrics, { registry, streams, grants, cliSessions: () => callers.size });
  const lastSeen = createLastSeen({ store, registry, log, clock });
  const { known, peers, liveRelays } = fleet;
  const running = await openAudit(config.audit, deps);
  const callerSessions = createCallerSessions(deps);
  const tracer = openTracer(config.tracing, { name: "relay", software: deps.software }, deps);
  const quotas = createQuotas(config.limits, { now: clock.now, random: Math.random });
  deps.metrics.observe(
    "silent_sockets",
    "Sockets that are no channel and have no request under way.",
    () => quotas.silentSockets,
  );
  deps.metrics.observe("handshakes", "Channels that have not proved anything yet.", () => quotas.handshakes);
  const context: RelayContext = {
    ...{ ...deps, grants, registry, lastSeen, streams, metrics, known, peers, liveRelays },
    ...{
      audit: running.audit,
      tracer,
      callers: callerSessions,
      rates: createRates(config.limits, deps.sessionDeps.clock),
      quotas,
    },
    ...{
      budgets: createBudgets(config.limits, deps.metrics),
      maxStreamsPerSession: Math.min(config.limits.streamsPerCaller, MAX_STREAMS),
    },
  };
  const authenticate = createAuthenticate({ verifier, now: clock.now });
  const health = createRelayHealth({ store, verifier, storeState: fleet.storeState, checkPeers: fleet.checkPeers });
  const { server, watch } = await createRelayServer(config, { log, clock });
  boundSilentSockets(server, config, { quotas, onRefused: () => metrics.refusedUpgrade("CC_LIMIT_REACHED") });
  const addressOf = createCallerAddress(config.trustedProxies);
  const api = await createHttpApi({
    ...{ server, store, registry, authenticate, health, log, statuses, instanceId: deps.instanceId },
    ...{ grants, login: config.login, metrics: deps.metrics, ownMetrics: config.metrics === undefined },
    ...{ authority: config.publicUrl.host, onRefused: refusalToAudit(addressOf, context) },
    admit: (request) => quotas.admitRequest(addressOf(request)),
    ...{ software: deps.software, now: clock.now, admins: compileAdmins(config.admins, { now: clock.now }) },
  });
  const operations =
    config.metrics === undefined
      ? undefined
      : await startHealthServer(config.metrics, { health, metrics: deps.metrics });
  const draining = new AbortController();
  const stopped = new AbortController();
  acceptChannels(server, channelOptions(config, draining.signal), context, { authenticate, agents, callers });
  await fleet.start(context, { draining: draining.signal });
  const address = await listenOn(server, config.listen).catch(async (error: unknown) => {
    await fleet.close();
    throw error;
  });
  const { signal } = stopped;
  const chores = Promise.all([
    watchRevocations({ signal }, { store, registry, log, clock }),
    watchSharedKeys(config.agents, { signal }, { store, registry, audit: context.audit, log, clock }),
    lastSeen.run({ signal }),
    grants.watch({ signal }),
    statusWatch.run({ signal }),
    notifications.run({ signal }),
    running.run({ signal }),
    callerSessions.run({ signal }),
    tracer?.run({ signal }),
    streams.watch({ signal }),
    watch({ signal }),
    fleet.run({ signal }),
  ]);
  return {
    address,
    metricsAddress: operations?.address,
    registry,
    async drain(options) {
      health.drain();
      draining.abort();
      await Promise.all([fleet.drain(options), agents.drain(options), callers.drain(options)]);
    },
    async close() {
      draining.abort();
      stopped.abort();
      agents.closeAll();
      callers.closeAll();
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await Promise.all([api.close(), operations?.close(), closed, chores]);
      await fleet.close();
      await lastSeen.flush();
    },
  };
}

/** Who was not let in by a request is written down as who was not let in by an upgrade. */
function refusalToAudit(addressOf: CallerAddress, { audit, clock }: RelayContext): HttpApiDeps["onRefused"] {
  return (refusal, request) =>
    audit.refused({
      ...{ event: "request.refused", actor: "unknown", at: new Date(clock.now()) },
      ...{ ...refusal, address: addressOf(request) },
    });
}

function channelOptions(config: RelayConfig, draining: AbortSignal): Parameters<typeof acceptChannels>[1] {
  const { intervalSeconds, timeoutSeconds } = config.probe;
  return {
    agent: {
      authority: config.publicUrl.host,
      probe: { intervalMs: intervalSeconds * 1_000, timeoutMs: timeoutSeconds * 1_000 },
    },
    trustedProxies: config.trustedProxies,
    draining,
  };
}
