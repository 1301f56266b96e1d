import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { clusterAudienceOf, parseClusterId } from "@cluster-connect/protocol";
import type { Assets } from "../cluster/binaries/assets.ts";
import type { Tools } from "../cluster/binaries/tools.ts";
import type { Cluster } from "../cluster/cluster.ts";
import { startControlPlane } from "../cluster/control-plane/control-plane.ts";
import type { Keeper } from "../process/keeper.ts";
import type { Progress } from "../process/progress.ts";
import { expectNoInstallation, grantAccess, revokeAccess } from "./access.ts";
import { type Agent, type AgentOptions, startAgent } from "./agent.ts";
import { type AuthProxy, type AuthProxyOptions, startAuthProxy } from "./auth-proxy.ts";
import { type Cli, createCli } from "./cli.ts";
import { CLUSTER_AUDIENCE, type Issuer, startIssuer } from "./issuer.ts";
import { type AdminKubectl, adminKubectl } from "./kubectl.ts";
import { type Relay, type RelayOptions, startRelay } from "./relay.ts";

/** How to start everything. */
export interface StackOptions {
  /** An existing folder; keep its path short, a unix socket is in it. */
  readonly folder: string;
  readonly signal: AbortSignal;
  /** A Kubernetes to use instead of one of its own; its owner stops it. */
  readonly cluster?: Cluster;
  /** Starts a Kubernetes of its own other than a mere control plane, in a folder that is made. */
  readonly startCluster?: (options: { readonly folder: string; readonly signal: AbortSignal }) => Promise<Cluster>;
  readonly relayBehind?: RelayOptions["behind"];
  readonly relayLimits?: RelayOptions["limits"];
  readonly grantedUpstreams?: RelayOptions["grantedUpstreams"];
  readonly agent?: Pick<AgentOptions, "upstreams" | "healthPort" | "authProxyAddress">;
  /** More settings of the auth proxy. */
  readonly authProxySettings?: AuthProxyOptions["settings"];
  readonly accessTokenSeconds?: number;
  /** Ids of clusters that have an audience each; one serves all without them. */
  readonly ownAudiences?: readonly string[];
  /** Of a collector that every hop sends spans to, the CLI too. */
  readonly collector?: string;
}

/** Dependencies of the stack. */
export interface StackDeps {
  readonly keeper: Keeper;
  /** Finds Kubernetes' programs; asked only when there is no cluster yet. */
  readonly findAssets: () => Promise<Assets>;
  readonly tools: Tools;
  readonly env: NodeJS.ProcessEnv;
  readonly now: () => Date;
  readonly progress: Progress;
}

/** The whole way from a person to a kube-apiserver, in processes. */
export interface Stack {
  readonly clusterId: string;
  /** May hold `{cluster}`. */
  readonly clusterAudience: string;
  readonly cluster: Cluster;
  readonly issuer: Issuer;
  readonly relay: Relay;
  readonly authProxy: AuthProxy;
  readonly agent: Agent;
  readonly kubectlAsAdmin: AdminKubectl;
  /**
   * The CLI of a person who is not signed in yet.
   *
   * @param authorities files with the authorities of further clusters, by id.
   */
  cli(name: string, authorities?: Readonly<Record<string, string>>): Promise<Cli>;
  /** Ends what it started, in order, and takes its objects out of a cluster that goes on. */
  stop(): Promise<void>;
}

/** The cluster's id in the demo and in the suites. */
const CLUSTER_ID = "demo";
const READY_TIMEOUT_MS = 180_000;
const LEAVE_TIMEOUT_MS = 60_000;

/** Starts every hop, resolves when the agent's tunnel is open. */
export async function startStack(options: StackOptions, deps: StackDeps): Promise<Stack> {
  const { tools, env } = deps;
  const cluster = options.cluster ?? (await startOwnCluster(options, deps));
  const kubectl = (signal: () => AbortSignal): AdminKubectl =>
    adminKubectl(cluster, { folder: join(options.folder, "kube-cache"), signal }, { tools, env });
  const kubectlAsAdmin = kubectl(() => options.signal);
  if (options.cluster === undefined) return startHops(cluster, () => cluster.stop(), kubectlAsAdmin, options, deps);
  await expectNoInstallation(kubectlAsAdmin);
  // The person may have interrupted everything else; this has to happen nevertheless.
  const leave = (): Promise<void> => revokeAccess(kubectl(() => AbortSignal.timeout(LEAVE_TIMEOUT_MS)));
  try {
    return await startHops(cluster, leave, kubectlAsAdmin, options, deps);
  } catch (error) {
    await leave();
    throw error;
  }
}

/** @param leave ends the cluster, or our use of it. */
async function startHops(
  cluster: Cluster,
  leave: () => Promise<void>,
  kubectlAsAdmin: AdminKubectl,
  options: StackOptions,
  deps: StackDeps,
): Promise<Stack> {
  const { progress, tools } = deps;
  const { relayBehind, relayLimits, grantedUpstreams, accessTokenSeconds, signal } = options;
  const folder = (name: string): string => join(options.folder, name);
  const waiting = (): AbortSignal => AbortSignal.any([signal, AbortSignal.timeout(READY_TIMEOUT_MS)]);
  const tokenFile = folder("auth-proxy-token");
  const clusterAudience = options.ownAudiences === undefined ? CLUSTER_AUDIENCE : `${CLUSTER_AUDIENCE}/{cluster}`;
  const clusterAudiences = (options.ownAudiences ?? [CLUSTER_ID]).map((id) =>
    clusterAudienceOf(clusterAudience, parseClusterId(id)),
  );
  const life = accessTokenSeconds === undefined ? {} : { accessTokenSeconds };
  const traced = options.collector === undefined ? {} : { tracing: { endpoint: options.collector } };
  const behind = {
    ...traced,
    clusterAudience,
    ...(relayBehind === undefined ? {} : { behind: relayBehind }),
    ...(relayLimits === undefined ? {} : { limits: relayLimits }),
    ...(grantedUpstreams === undefined ? {} : { grantedUpstreams }),
  };
  const apiserver = { url: cluster.apiserverUrl, caPem: cluster.caPem, tokenFile };
  await mkdir(folder("issuer"), { mode: 0o700 });
  const [issuer] = await progress.during("2/6 issuer, and roles in the cluster", () =>
    Promise.all([
      startIssuer({ folder: folder("issuer"), signal: waiting(), clusterAudiences, ...life }, deps),
      grantAccess(tokenFile, { kubectl: kubectlAsAdmin }),
    ]),
  );
  const from = { clusterId: CLUSTER_ID, issuerUrl: issuer.url };
  const relay = await progress.during("3/6 relay", () =>
    startRelay({ folder: folder("relay"), signal: waiting(), issuerUrl: issuer.url, ...behind }, deps),
  );
  const authProxy = await progress.during("4/6 auth proxy", () =>
    startAuthProxy(
      {
        folder: folder("auth-proxy"),
        signal: waiting(),
        ...from,
        audience: clusterAudience,
        ...traced,
        apiserver,
        ...(options.authProxySettings === undefined ? {} : { settings: options.authProxySettings }),
      },
      deps,
    ),
  );
  const agent = await progress.during("5/6 agent", async () => {
    const code = await relay.enrollmentCode(CLUSTER_ID, { signal: waiting() });
    return startAgent({ folder: folder("agent"), signal, relay, authProxy, code, ...traced, ...options.agent }, deps);
  });
  let people = 0;
  return {
    clusterId: CLUSTER_ID,
    clusterAudience,
    cluster,
    issuer,
    relay,
    authProxy,
    agent,
    kubectlAsAdmin,
    cli: (name, more = {}) => {
      people += 1;
      const own = { folder: folder(`cli-${people}-${name}`), relay, path: tools.path, signal };
      const authorities = { [CLUSTER_ID]: authProxy.caFile, ...more };
      return createCli({ ...own, ...traced, authorities }, deps);
    },
    stop: async () => {
      await agent.stop();
      await Promise.all([authProxy.stop(), relay.stop(), issuer.stop()]);
      await leave();
    },
  };
}

async function startOwnCluster(options: StackOptions, deps: StackDeps): Promise<Cluster> {
  const { keeper, now, progress } = deps;
  const own = { folder: join(options.folder, "kubernetes"), signal: options.signal };
  if (options.startCluster !== undefined) return options.startCluster(own);
  const assets = await deps.findAssets();
  return progress.during("1/6 Kubernetes", () => startControlPlane(own, { keeper, assets, now }));
}
