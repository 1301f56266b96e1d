import type { AddressInfo } from "node:net";
import type { TokenVerifier } from "@cluster-connect/auth";
import type { Clock } from "@cluster-connect/base";
import type { SessionDeps } from "@cluster-connect/framing";
import type { InstanceId } from "@cluster-connect/protocol";
import {
  type Logger,
  listenOn,
  type Metrics,
  type OpenFileLimit,
  openTracer,
  type Tracer,
} from "@cluster-connect/service";
import { createLastSeen } from "./agents/last-seen.ts";
import { watchRevocations } from "./agents/revoked-keys.ts";
import type { AgentTunnelOptions } from "./agents/serve-agent.ts";
import { watchSharedKeys } from "./agents/shared-keys.ts";
import type { Registry } from "./agents/tunnels.ts";
import { createEndJournal } from "./audit/journal.ts";
import { openAudit } from "./audit/open.ts";
import { createSessionLedger } from "./callers/session-ledger.ts";
import { createStreamsUnderWay } from "./callers/streams-under-way.ts";
import { acceptChannels } from "./channels.ts";
import type { RelayConfig } from "./config.ts";
import { openGrants } from "./grants/open.ts";
import { createAuthenticate, type RequestCallers } from "./http/authenticate.ts";
import { openHttpFront } from "./http/open.ts";
import { createSocketAdmission } from "./http/socket-admission.ts";
import type { RelayIds } from "./ids.ts";
import { createRelayHealth } from "./observe/health.ts";
import { createRelayMetrics } from "./observe/metrics.ts";
import { openLimits } from "./quota/open.ts";
import { openRelayClusters } from "./relay-clusters.ts";
import { observeRelay } from "./relay-gauges.ts";
import { createSessionSet } from "./session-set.ts";
import type { Store } from "./store/store.ts";

/** Dependencies of a relay. The caller opened the store and closes it. */
export interface RelayDeps {
  readonly instanceId: InstanceId;
  /** Product and version. */
  readonly software: string;
  readonly store: Store;
  readonly verifier: TokenVerifier;
  readonly metrics: Metrics;
  readonly log: Logger;
  readonly clock: Clock;
  /** Between 0 and 1, for waits that should differ. */
  readonly random: () => number;
  readonly ids: RelayIds;
  /** Clock and randomness of sessions. */
  readonly sessionDeps: SessionDeps;
  /** The system is asked without it. */
  readonly openFileLimit?: OpenFileLimit | undefined;
}

export interface RunningRelay {
  readonly address: AddressInfo;
  /** Where metrics are served when they have a port of their own. */
  readonly metricsAddress: AddressInfo | undefined;
  readonly registry: Registry;
  /** Sends GOAWAY to every session. Resolves when all have ended, at the latest at the deadline or when aborted. */
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
  const clusters = await openRelayClusters(config, deps);
  const { registry, fleet, statuses } = clusters;
  const { cache, peers, liveRelays } = fleet;
  const grants = await openGrants(config, deps);
  const auditing = await openAudit(config.audit, deps);
  const { audit } = auditing;
  const journal = createEndJournal({ ...deps, runId: deps.instanceId, newId: deps.ids.correlationId });
  const limits = openLimits(config.limits, deps);
  const tracer = openTracer(config.tracing, { name: "relay", software: deps.software }, deps);
  const streams = createStreamsUnderWay({ grants, log, clock });
  const ledger = createSessionLedger(deps);
  const lastSeen = createLastSeen({ store, registry, log, clock });
  const sessions = { agents: createSessionSet(), callers: createSessionSet() };
  const metrics = createRelayMetrics(deps.metrics);
  observeRelay(deps.metrics, { registry, streams, grants, cliSessions: () => sessions.callers.size });
  const { storeState, checkPeers, tunnelsElsewhere } = fleet;
  const health = createRelayHealth({ store, verifier, storeState, checkPeers, clock });
  const callers: RequestCallers = new WeakMap();
  const authenticate = createAuthenticate({ verifier, now: clock.now, callers });
  const api = { store, registry, tunnelsElsewhere, statuses, instanceId: deps.instanceId, ids: deps.ids };
  const { quotas } = limits;
  const { holds } = verifier;
  const admitSocket = createSocketAdmission(deps.openFileLimit);
  const relayParts = {
    admitSocket,
    holds,
    authenticate,
    callers,
    grants,
    audit,
    quotas,
    health,
    api,
    relayMetrics: metrics,
  };
  const front = await openHttpFront(config, { ...deps, ...relayParts });
  const draining = new AbortController();
  const channelOptions = { agent: agentOptions(config), trustedProxies: config.trustedProxies };
  const shared = { ...deps, registry, cache, audit, journal, metrics, budgets: limits.budgets };
  acceptChannels(front.server, channelOptions, {
    admitSocket,
    sessions,
    quotas,
    audit,
    metrics,
    authenticate,
    callers,
    log,
    clock,
    draining: draining.signal,
    agent: { ...shared, liveRelays, lastSeen, takeAgent: quotas.takeAgent },
    caller: { ...shared, ...limits, grants, peers, streams, ledger, tracer },
  });
  await fleet.start({ draining: draining.signal }, { admitSocket, metrics, quotas, audit, ids: deps.ids });
  const address = await listenOn(front.server, config.listen).catch(async (error: unknown) => {
    await fleet.close();
    throw error;
  });
  const stopped = new AbortController();
  const runners = [lastSeen, ledger, auditing, journal, fleet, clusters.statusWatch, clusters.notifications];
  const background = runInBackground(
    config,
    { runners, tracer, watchers: [grants, streams, front], signal: stopped.signal },
    { store, registry, audit, log, clock },
  );
  return {
    address,
    metricsAddress: front.metricsAddress,
    registry,
    async drain(options) {
      health.drain();
      draining.abort();
      await Promise.all([fleet.drain(options), sessions.agents.drain(options), sessions.callers.drain(options)]);
    },
    async close() {
      draining.abort();
      stopped.abort();
      sessions.agents.closeAll();
      sessions.callers.closeAll();
      await Promise.all([front.close(), background]);
      await fleet.close();
      await lastSeen.flush();
      // Streams and sessions that this ended are in it.
      await auditing.close();
      await journal.close();
    },
  };
}

interface Background {
  readonly runners: readonly { run(options: { readonly signal: AbortSignal }): Promise<void> }[];
  readonly tracer: Tracer | undefined;
  readonly watchers: readonly { watch(options: { readonly signal: AbortSignal }): Promise<void> }[];
  readonly signal: AbortSignal;
}

/** Runs the work beside the sessions; resolves when all of it has ended after the abort. */
async function runInBackground(
  { agents }: RelayConfig,
  { runners, tracer, watchers, signal }: Background,
  deps: Parameters<typeof watchSharedKeys>[2],
): Promise<void> {
  await Promise.all([
    watchRevocations({ signal }, deps),
    watchSharedKeys(agents, { signal }, deps),
    tracer?.run({ signal }),
    ...runners.map((part) => part.run({ signal })),
    ...watchers.map((part) => part.watch({ signal })),
  ]);
}

function agentOptions(config: RelayConfig): AgentTunnelOptions {
  const { intervalSeconds, timeoutSeconds } = config.probe;
  return {
    authority: config.publicUrl.host,
    probe: { intervalMs: intervalSeconds * 1_000, timeoutMs: timeoutSeconds * 1_000 },
  };
}
