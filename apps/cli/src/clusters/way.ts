import { setTimeout as delay } from "node:timers/promises";
import { type ConnectError, ERRORS, type ErrorCode, toConnectError } from "@cluster-connect/protocol";
import type { CliDeps } from "../deps.ts";
import { type LocalProxy, startLocalProxy } from "../local-proxy/listener.ts";
import { type Cluster, fetchClusters } from "../relay-api.ts";
import { connectRelay, type LinkEvent, type RelayLink } from "../relay-link.ts";
import type { Screen } from "../screen.ts";
import { foldersOf } from "../settings/folders.ts";
import type { RelayChoice } from "../settings/relay-choice.ts";
import type { CallerTokens } from "../tokens/caller-tokens.ts";
import { keepRenewed } from "../tokens/keep-renewed.ts";
import { findClusters } from "./find.ts";
import { describeHops, missingHop } from "./hops.ts";
import { openKnownClusters } from "./known-clusters.ts";
import { checkReady } from "./ready.ts";
import { describeFirstSeen, type Trust, trustCluster } from "./trust.ts";

export interface WayOptions {
  readonly relay: RelayChoice;
  readonly names: readonly string[];
  readonly group?: string | undefined;
  readonly port: number;
  /** How long a hop behind the relay may stay missing at the start. */
  readonly waitMs: number;
  /** Ends everything. */
  readonly signal: AbortSignal;
}

export interface WayDeps {
  readonly cli: CliDeps;
  readonly tokens: CallerTokens;
  readonly screen: Screen;
}

/** A cluster with the authorities that are accepted for it. */
export interface WayCluster {
  readonly cluster: Cluster;
  readonly trust: Trust;
}

/** A local port that leads to clusters, tried from end to end. */
export interface Way {
  readonly port: number;
  readonly clusters: readonly WayCluster[];
  readonly link: RelayLink;
  /** Resolves when listener, connections and channel are gone. */
  readonly closed: Promise<void>;
}

const RETRY_MS = 1_000;
const PLANNED: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["CC_TOKEN_EXPIRED", "CC_DRAINING"]);

/**
 * Opens the way to clusters: relay, trust, local port, channel, and a question to each kube-apiserver.
 *
 * @throws ConnectError that names the first hop which is missing; nothing is left open then.
 */
export async function openWay(options: WayOptions, deps: WayDeps): Promise<Way> {
  const failed = new AbortController();
  const signal = AbortSignal.any([options.signal, failed.signal]);
  try {
    return await open({ ...options, signal }, deps);
  } catch (error) {
    failed.abort(error);
    throw error;
  }
}

async function open(options: WayOptions, deps: WayDeps): Promise<Way> {
  const { relay, signal } = options;
  const { cli, screen, tokens } = deps;
  screen.waiting(`asking ${relay.url.host} for clusters`);
  const { token } = await tokens.token("relay", { signal });
  const offered = await fetchClusters(relay.url, token, { signal }, cli);
  const found = findClusters(options.names, offered, relay.url.origin, options.group);
  const clusters = await acceptClusters(found, options, deps);
  const served = found.map(({ id, serverName }) => ({ id, serverName }));
  const link = connectRelay(
    { relay: relay.url, signal, onEvent: createLinkScreen(relay.url.host, screen) },
    { ...cli, tokens },
  );
  const proxy = await startLocalProxy(
    { port: options.port, clusters: served, signal },
    {
      open: async (cluster, streamOptions) => await link.open(cluster.id, streamOptions),
      onFailure: (error, cluster) => screen.problem(error, cluster?.id),
    },
  );
  screen.waiting(`dialing ${relay.url.host}`);
  await link.ready;
  for (const { cluster, trust } of clusters) await waitUntilReady(cluster, trust, link, options, deps);
  void keepRenewed(tokens, { signal }, cli);
  return { port: proxy.port, clusters, link, closed: everythingClosed(proxy, link) };
}

async function acceptClusters(
  found: readonly Cluster[],
  options: WayOptions,
  { cli, screen }: WayDeps,
): Promise<readonly WayCluster[]> {
  const known = openKnownClusters(foldersOf(cli));
  const accepted: WayCluster[] = [];
  for (const cluster of found) {
    const origin = options.relay.url.origin;
    const trust = await trustCluster(origin, cluster, known, { signal: options.signal, now: cli.now() });
    accepted.push({ cluster, trust });
    if (!trust.isNew) continue;
    for (const line of describeFirstSeen(cluster.id, trust.authorities)) screen.notice(line);
  }
  return accepted;
}

/** Asks until an answer comes, as long as what is missing may come back by itself. */
async function waitUntilReady(
  cluster: Cluster,
  trust: Trust,
  link: RelayLink,
  options: WayOptions,
  { screen, tokens }: WayDeps,
): Promise<void> {
  const until = performance.now() + options.waitMs;
  for (;;) {
    screen.waiting(`${cluster.id}: ${describeHops("agent")}`);
    try {
      const { token } = await tokens.token("cluster", options);
      const check = { cluster: cluster.id, serverName: cluster.serverName, authorities: trust.authorities.pem, token };
      const answer = await checkReady(
        check,
        options,
        async (streamOptions) => await link.open(cluster.id, streamOptions),
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
function createLinkScreen(host: string, screen: Screen): (event: LinkEvent) => void {
  let told = false;
  return (event) => {
    switch (event.kind) {
      case "connected":
        if (told) screen.event(`The channel to ${host} is back`);
        told = false;
        return;
      case "lost":
        // A token's end or a relay's restart is followed by a new channel at once; there is a word when that fails.
        if (event.attempt === 1 && PLANNED.has(event.error.code)) return;
        if (event.attempt === 1) {
          const waiting = event.streams === 0 ? "" : `; ${event.streams} open connections wait for it`;
          screen.event(`The channel to ${host} was lost${waiting}`);
        } else screen.problem(event.error);
        told = true;
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

async function everythingClosed(proxy: LocalProxy, link: RelayLink): Promise<void> {
  await proxy.closed;
  await link.closed;
}
