import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Assets } from "../cluster/assets.ts";
import type { Cluster } from "../cluster/cluster.ts";
import { startControlPlane } from "../cluster/control-plane.ts";
import type { Tools } from "../cluster/tools.ts";
import type { Keeper } from "../process/keeper.ts";
import type { Progress } from "../process/progress.ts";
import { type ClusterAccess, grantAccess } from "./access.ts";
import { type Agent, type AgentOptions, startAgent } from "./agent.ts";
import { type AuthProxy, startAuthProxy } from "./auth-proxy.ts";
import { type Cli, createCli } from "./cli.ts";
import { type Issuer, startIssuer } from "./issuer.ts";
import { type AdminKubectl, adminKubectl } from "./kubectl.ts";
import { type Relay, type RelayOptions, startRelay } from "./relay.ts";

/** How to start everything. */
export interface StackOptions {
  /** An existing folder; keep its path short, a unix socket is in it. */
  readonly folder: string;
  readonly signal: AbortSignal;
  /** A Kubernetes to use instead of one of its own; its owner stops it. */
  readonly cluster?: Cluster;
  readonly relayBehind?: RelayOptions["behind"];
  readonly agent?: Pick<AgentOptions, "upstreams" | "healthPort">;
  readonly accessTokenSeconds?: number;
}

/** What the stack needs from its surroundings. */
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
  readonly cluster: Cluster;
  readonly issuer: Issuer;
  readonly relay: Relay;
  readonly authProxy: AuthProxy;
  readonly agent: Agent;
  readonly kubectlAsAdmin: AdminKubectl;
  /** The CLI of a person who is not signed in yet. */
  cli(name: string): Promise<Cli>;
  /** Ends what it started, in order, and takes its objects out of a cluster that goes on. */
  stop(): Promise<void>;
}

/** The cluster's id in the demo and in the suites. */
const CLUSTER_ID = "demo";
const READY_TIMEOUT_MS = 60_000;

/** Starts every hop, resolves when the agent's tunnel is open. */
export async function startStack(options: StackOptions, deps: StackDeps): Promise<Stack> {
  const { progress, tools, env } = deps;
  const folder = (name: string): string => join(options.folder, name);
  const waiting = (): AbortSignal => AbortSignal.any([options.signal, AbortSignal.timeout(READY_TIMEOUT_MS)]);
  await mkdir(folder("issuer"), { mode: 0o700 });
  const cluster =
    options.cluster ?? (await startOwnCluster(folder("kubernetes"), await deps.findAssets(), options.signal, deps));
  const kubectlAsAdmin = adminKubectl(
    cluster,
    { folder: folder("kube-cache"), signal: options.signal },
    { tools, env },
  );
  const tokenFile = folder("auth-proxy-token");
  const { accessTokenSeconds } = options;
  const life = accessTokenSeconds === undefined ? {} : { accessTokenSeconds };
  const [issuer, access] = await progress.during("2/6 issuer, and roles in the cluster", () =>
    Promise.all([
      startIssuer({ folder: folder("issuer"), signal: waiting(), ...life }, deps),
      grantAccess(tokenFile, { kubectl: kubectlAsAdmin }),
    ]),
  );
  const behind = options.relayBehind;
  const relay = await progress.during("3/6 relay", () =>
    startRelay(
      {
        folder: folder("relay"),
        signal: waiting(),
        issuerUrl: issuer.url,
        ...(behind === undefined ? {} : { behind }),
      },
      deps,
    ),
  );
  const authProxy = await progress.during("4/6 auth proxy", () =>
    startAuthProxy(
      {
        folder: folder("auth-proxy"),
        signal: waiting(),
        clusterId: CLUSTER_ID,
        issuerUrl: issuer.url,
        apiserver: { url: cluster.apiserverUrl, caPem: cluster.caPem, tokenFile },
      },
      deps,
    ),
  );
  const agent = await progress.during("5/6 agent", async () => {
    const code = await relay.enrollmentCode(CLUSTER_ID, { signal: waiting() });
    const { signal, agent = {} } = options;
    return startAgent({ folder: folder("agent"), signal, relay, authProxy, code, ...agent }, deps);
  });
  let people = 0;
  return {
    clusterId: CLUSTER_ID,
    cluster,
    issuer,
    relay,
    authProxy,
    agent,
    kubectlAsAdmin,
    cli: (name) => {
      people += 1;
      return createCli(
        { folder: folder(`cli-${people}-${name}`), relay, path: tools.path, signal: options.signal },
        deps,
      );
    },
    stop: () =>
      stopAll({ agent, authProxy, relay, issuer, access, cluster, ownCluster: options.cluster === undefined }),
  };
}

function startOwnCluster(folder: string, assets: Assets, signal: AbortSignal, deps: StackDeps): Promise<Cluster> {
  const { keeper, now, progress } = deps;
  return progress.during("1/6 Kubernetes", () => startControlPlane({ folder, signal }, { keeper, assets, now }));
}

interface Started {
  readonly agent: Agent;
  readonly authProxy: AuthProxy;
  readonly relay: Relay;
  readonly issuer: Issuer;
  readonly access: ClusterAccess;
  readonly cluster: Cluster;
  readonly ownCluster: boolean;
}

async function stopAll(started: Started): Promise<void> {
  await started.agent.stop();
  await Promise.all([started.authProxy.stop(), started.relay.stop(), started.issuer.stop()]);
  if (started.ownCluster) await started.cluster.stop();
  else await started.access.remove();
}
