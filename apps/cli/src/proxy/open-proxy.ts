import { setTimeout as delay } from "node:timers/promises";
import { type ClusterId, type ConnectError, ERRORS, type ErrorCode, toConnectError } from "@cluster-connect/protocol";
import { findClusters } from "../cluster/find.ts";
import { describeHops, missingHop } from "../cluster/hops.ts";
import { describePending, pendingLines } from "../cluster/pending-authority.ts";
import { checkReady } from "../cluster/ready.ts";
import { describeNewTrust, type Trust, trustCluster } from "../cluster/trust.ts";
import { type ClusterTrustFlags, loadTrustSources } from "../cluster/trust-sources.ts";
import type { CliDeps } from "../deps.ts";
import { type Cluster, fetchClusters } from "../relay/api.ts";
import type { RelayChoice } from "../relay/choice.ts";
import { connectRelay, type RelayConnection, type RelayConnectionEvent } from "../relay/connection.ts";
import type { Screen } from "../terminal/screen.ts";
import type { CallerTokens } from "../tokens/caller-tokens.ts";
import { keepRenewed } from "../tokens/login/keep-renewed.ts";
import { type LoopbackProxy, startLoopbackProxy } from "./listener.ts";
import type { ServedCluster } from "./route.ts";

export interface ProxyOptions {
  readonly relay: RelayChoice;
  readonly names: readonly string[];
  readonly group?: string | undefined;
  /** Flags that name the clusters' authorities. */
  readonly trust: ClusterTrustFlags;
  readonly port: number;
  /** The port that a cluster has for itself where there are several; a free one without it, and where it is taken. */
  readonly ownPort?: (cluster: ClusterId) => Promise<number>;
  /** As of the listener. */
  readonly proofSecret?: string;
  /** How long the relay and the hops behind it may stay missing at the start; without it, only those behind it may. */
  readonly waitMs?: number;
  /** Ends everything. */
  readonly signal: AbortSignal;
}

export interface ProxyDeps {
  readonly cli: CliDeps;
  readonly tokens: CallerTokens;
  readonly screen: Screen;
}

/** A cluster with the authorities that are accepted for it. */
export interface ProxiedCluster {
  readonly cluster: Cluster;
  readonly trust: Trust;
  /** Leads to this cluster alone, by any server name and by none: not every client sends the name. */
  readonly port: number;
}

/** Local ports that lead to clusters; each was asked once from end to end. */
export interface ClusterProxy {
  /** Leads to all of them; the server name tells which. */
  readonly port: number;
  readonly clusters: readonly ProxiedCluster[];
  readonly connection: RelayConnection;
  /** As of the listener: takes no more connections, and lets those that are there end. */
  readonly drain: LoopbackProxy["drain"];
  /** Resolves when listener, connections and channel are gone. */
  readonly closed: Promise<void>;
}

const RETRY_MS = 1_000;
const DEFAULT_WAIT_MS = 10_000;
/** A relay that starts again, and a server in front of it that says so; also one that is full. */
const AWAITED: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "CC_RELAY_UNREACHABLE",
  "CC_CHANNEL_LOST",
  "CC_SESSION_CLOSED",
  "CC_DRAINING",
  "CC_LIMIT_REACHED",
]);
const PLANNED: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["CC_TOKEN_EXPIRED", "CC_DRAINING"]);

/**
 * Opens a proxy to clusters: relay, trust, local port, channel, and a question to each kube-apiserver.
 *
 * @throws ConnectError that names the first hop which is missing; nothing is left open then.
 */
export async function openProxy(options: ProxyOptions, deps: ProxyDeps): Promise<ClusterProxy> {
  const failed = new AbortController();
  const signal = AbortSignal.any([options.signal, failed.signal]);
  try {
    return await openParts({ ...options, signal }, deps);
  } catch (error) {
    failed.abort(error);
    throw error;
  }
}

async function openParts(options: ProxyOptions, deps: ProxyDeps): Promise<ClusterProxy> {
  const { relay, signal } = options;
  const { cli, screen, tokens } = deps;
  screen.waiting(`asking ${relay.url.host} for clusters`);
  const mayWait = waiter(options, screen);
  const offered = await untilThere(mayWait, signal, async () => {
    const { token } = await tokens.token("relay", { signal });
    return await fetchClusters(relay.url, token, { signal }, cli);
  });
  const found = findClusters(options.names, offered, relay.url.origin, options.group);
  const accepted = await acceptClusters(found, options, deps);
  const served = found.map(({ id, serverName }) => ({ id, serverName }));
  const connection = connectRelay(
    { relay: relay.url, signal, onEvent: createConnectionScreen(relay.url.host, screen), retryAtStart: mayWait },
    { ...cli, tokens },
  );
  const listen = async (port: number, leadsTo: readonly ServedCluster[]): Promise<LoopbackProxy> =>
    await startLoopbackProxy(
      { port, clusters: leadsTo, proofSecret: options.proofSecret, signal },
      {
        open: async (cluster, streamOptions) => await connection.open(cluster.id, streamOptions),
        onFailure: (error, cluster) => screen.problem(error, cluster?.id),
      },
    );
  const shared = await listen(options.port, served);
  const own = served.length === 1 ? [shared] : await listenForEach(served, options, listen);
  screen.waiting(`dialing ${relay.url.host}`);
  await connection.ready;
  for (const { cluster, trust } of accepted) await waitUntilReady(cluster, trust, connection, options, deps);
  void keepRenewed(tokens, { signal, clusters: found.map(({ id }) => id) }, cli);
  const clusters = accepted.map((one, index) => ({ ...one, port: own[index]?.port ?? shared.port }));
  const listeners = [...new Set([shared, ...own])];
  return {
    port: shared.port,
    clusters,
    connection,
    async drain(drainOptions) {
      const left = await Promise.all(listeners.map(async (listener) => await listener.drain(drainOptions)));
      return left.reduce((sum, count) => sum + count, 0);
    },
    closed: everythingClosed(listeners, connection),
  };
}

/** Whether the start may wait for the relay after this failure: only where a time was named, and what fails may pass. */
function waiter({ relay, waitMs = 0 }: ProxyOptions, screen: Screen): (error: ConnectError) => boolean {
  const until = performance.now() + waitMs;
  return (error) => {
    if (!AWAITED.has(error.code) || performance.now() + RETRY_MS >= until) return false;
    screen.waiting(`waiting for ${relay.url.host}; ${error.message}`);
    return true;
  };
}

async function untilThere<T>(
  mayWait: (error: ConnectError) => boolean,
  signal: AbortSignal,
  ask: () => Promise<T>,
): Promise<T> {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      signal.throwIfAborted();
      if (!mayWait(toConnectError(error))) throw error;
      await delay(RETRY_MS, undefined, { signal });
    }
  }
}

async function listenForEach(
  clusters: readonly ServedCluster[],
  { ownPort }: ProxyOptions,
  listen: (port: number, leadsTo: readonly ServedCluster[]) => Promise<LoopbackProxy>,
): Promise<readonly LoopbackProxy[]> {
  const own: LoopbackProxy[] = [];
  for (const cluster of clusters) {
    const port = (await ownPort?.(cluster.id)) ?? 0;
    own.push(await listen(port, [cluster]).catch(async (error: unknown) => await listenElsewhere(error, cluster)));
  }
  return own;

  /** Another process was faster; a port that nobody chose may be any. */
  async function listenElsewhere(error: unknown, cluster: ServedCluster): Promise<LoopbackProxy> {
    if (toConnectError(error).code !== "CC_PORT_IN_USE") throw error;
    return await listen(0, [cluster]);
  }
}

async function acceptClusters(
  found: readonly Cluster[],
  options: ProxyOptions,
  { cli, screen }: ProxyDeps,
): Promise<readonly Omit<ProxiedCluster, "port">[]> {
  const { relay, signal } = options;
  const sources = await loadTrustSources(relay.url, options.trust, { signal }, cli);
  const accepted: Omit<ProxiedCluster, "port">[] = [];
  for (const cluster of found) {
    const trust = await trustCluster(relay.url.origin, cluster, sources, { signal, now: cli.now() });
    accepted.push({ cluster, trust });
    for (const line of [...describeNewTrust(cluster.id, trust), ...pendingLines(cluster)]) screen.notice(line);
  }
  return accepted;
}

/** Asks until an answer comes, as long as what is missing may come back by itself. */
async function waitUntilReady(
  cluster: Cluster,
  trust: Trust,
  connection: RelayConnection,
  options: ProxyOptions,
  { screen, tokens }: ProxyDeps,
): Promise<void> {
  const until = performance.now() + (options.waitMs ?? DEFAULT_WAIT_MS);
  for (;;) {
    screen.waiting(`${cluster.id}: ${describeHops("agent")}`);
    try {
      const { token } = await tokens.token("cluster", { signal: options.signal, cluster: cluster.id });
      const { id, serverName } = cluster;
      const pending = describePending(cluster);
      const check = { cluster: id, serverName, authorities: trust.authorities.pem, token, pending };
      const answer = await checkReady(
        check,
        options,
        async (streamOptions) => await connection.open(cluster.id, streamOptions),
      );
      const who = answer.version === undefined ? "kube-apiserver" : `kube-apiserver ${answer.version}`;
      screen.fact(cluster.id, `ready: ${who} answered in ${Math.round(answer.durationMs)} ms`);
      for (const fingerprint of trust.announced) {
        screen.notice(`${cluster.id} announces a further authority, which is not trusted yet: SHA-256 ${fingerprint}`);
      }
      return;
    } catch (error) {
      options.signal.throwIfAborted();
      const found: ConnectError = toConnectError(error);
      if (!ERRORS[found.code].retry || performance.now() + RETRY_MS >= until) throw found;
      screen.waiting(`${cluster.id}: ${describeHops(missingHop(found.code))}; ${found.message}`);
      await delay(RETRY_MS, undefined, { signal: options.signal });
    }
  }
}

/** Tells of a channel or an agent that is lost, and of its return when the loss was told. */
function createConnectionScreen(host: string, screen: Screen): (event: RelayConnectionEvent) => void {
  let wasTold = false;
  return (event) => {
    switch (event.kind) {
      case "connected":
        if (wasTold) screen.event(`The channel to ${host} is back`);
        wasTold = false;
        return;
      case "lost":
        // A token's end or a relay's restart is followed by a new channel at once; there is a word when that fails.
        if (event.attempt === 1 && PLANNED.has(event.error.code)) return;
        if (event.attempt === 1) {
          const waiting = event.streams === 0 ? "" : `; ${event.streams} open connections wait for it`;
          screen.event(`The channel to ${host} was lost${waiting}`);
        } else screen.problem(event.error);
        wasTold = true;
        return;
      case "missing":
        screen.event(
          `${event.cluster}: the agent that holds open connections is not connected; ` +
            `they wait for it for up to ${Math.round(event.graceMs / 1_000)} s`,
        );
        return;
      case "found":
        screen.event(`${event.cluster}: the agent is back, and open connections go on`);
        return;
      case "untraced":
        screen.event(`The collector at ${event.host} does not take spans; they are let go`);
        return;
    }
  };
}

async function everythingClosed(listeners: readonly LoopbackProxy[], connection: RelayConnection): Promise<void> {
  await Promise.all(listeners.map(async ({ closed }) => await closed));
  await connection.closed;
}
