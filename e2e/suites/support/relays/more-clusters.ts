import { join } from "node:path";
import { startAgent } from "../../../src/stack/agent.ts";
import { startAuthProxy } from "../../../src/stack/auth-proxy.ts";
import { NO_END, type SuiteStack } from "../stack.ts";

const TIMEOUT_MS = 60_000;

export interface MoreClusters {
  /** Files with their authorities, by id. */
  readonly authorities: Readonly<Record<string, string>>;
  remove(): Promise<void>;
}

/** Further clusters at the suite's relay: each has an agent and an auth proxy of its own before the one kube-apiserver. */
export async function addClusters(suite: SuiteStack, names: readonly string[]): Promise<MoreClusters> {
  const { stack, keeper, folder } = suite;
  const { cluster, relay, issuer, clusterAudience: audience } = stack;
  const tokenFile = join(folder, "auth-proxy-token");
  const apiserver = { url: cluster.apiserverUrl, caPem: cluster.caPem, tokenFile };
  const stops: (() => Promise<void>)[] = [];
  const authorities: Record<string, string> = {};
  for (const name of names) {
    const place = (part: string): string => join(folder, `${name}-${part}`);
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const issuerUrl = issuer.url;
    const own = { folder: place("p"), signal, clusterId: name, issuerUrl, audience, apiserver };
    const authProxy = await startAuthProxy(own, { keeper });
    const code = await relay.enrollmentCode(name, { signal });
    const agent = await startAgent({ folder: place("a"), signal: NO_END, relay, authProxy, code }, { keeper });
    stops.push(agent.stop, authProxy.stop);
    authorities[name] = authProxy.caFile;
  }
  return {
    authorities,
    remove: async () => {
      for (const stop of stops) await stop();
    },
  };
}
