import type { ClusterId } from "@cluster-connect/protocol";
import type { FirstBytes } from "./client-hello.ts";

/** A cluster that a local port serves. */
export interface ServedCluster {
  readonly id: ClusterId;
  /** The TLS server name that means it. */
  readonly serverName: string;
}

/** Which cluster a connection means. */
export type ConnectionRoute =
  | { readonly kind: "cluster"; readonly cluster: ServedCluster }
  /** Several are served and the connection names none of them; the name that it asked for is for the screen. */
  | { readonly kind: "unknown"; readonly named: string | undefined };

/** With one cluster on a port every connection means it, with or without TLS and by any name. */
export function routeConnection(first: FirstBytes, clusters: readonly ServedCluster[]): ConnectionRoute {
  const [only] = clusters;
  if (only !== undefined && clusters.length === 1) return { kind: "cluster", cluster: only };
  const named = first.kind === "hello" ? first.serverName : undefined;
  const cluster = clusters.find(({ serverName }) => serverName === named);
  return cluster === undefined ? { kind: "unknown", named } : { kind: "cluster", cluster };
}
