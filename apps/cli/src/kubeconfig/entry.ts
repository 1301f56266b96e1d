import type { ClusterId } from "@cluster-connect/protocol";
import type { SelfCommand } from "../deps.ts";

/** One cluster as kubectl finds it through the local proxy. */
export interface KubeconfigEntry {
  /** Name of the cluster and of the user; its prefix says that it is ours. */
  readonly name: string;
  /** Name of the context: what a person types. */
  readonly context: string;
  readonly port: number;
  readonly serverName: string;
  /** PEM. */
  readonly authorities: string;
  readonly credential: CredentialCommand;
}

/** How kubectl starts the credential plugin. */
export interface CredentialCommand extends SelfCommand {
  /** Where this tool's folders are, when not in the usual places: kubectl may be started from another shell. */
  readonly env?: Readonly<Record<string, string>> | undefined;
}

/** Entries whose cluster and user begin with this are made and removed by this tool; all others are left alone. */
export const OWN_PREFIX = "cluster-connect/";

/** Names the entry of a cluster; the same cluster id at two relays is two clusters. */
export function entryName(relay: URL, cluster: ClusterId): string {
  return `${OWN_PREFIX}${relay.host}/${cluster}`;
}

/** The value under `cluster:`. */
export function clusterValue(entry: KubeconfigEntry): Readonly<Record<string, string>> {
  return {
    server: `https://127.0.0.1:${entry.port}`,
    "tls-server-name": entry.serverName,
    "certificate-authority-data": Buffer.from(entry.authorities).toString("base64"),
  };
}

/** The value under `user:`. */
export function userValue(entry: KubeconfigEntry): Readonly<Record<string, unknown>> {
  return {
    exec: {
      apiVersion: "client.authentication.k8s.io/v1",
      command: entry.credential.command,
      args: [...entry.credential.args],
      ...(entry.credential.env === undefined
        ? {}
        : { env: Object.entries(entry.credential.env).map(([name, value]) => ({ name, value })) }),
      interactiveMode: "IfAvailable",
      provideClusterInfo: false,
    },
  };
}

/** The values under `context:` that are ours; a namespace that a person set there is kept. */
export function contextValue(entry: KubeconfigEntry): Readonly<Record<string, string>> {
  return { cluster: entry.name, user: entry.name };
}
