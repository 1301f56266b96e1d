import { type ClusterId, ConnectError } from "@cluster-connect/protocol";
import type { SelfCommand } from "../deps.ts";
import { printable } from "../terminal/printable.ts";
import { type ExecApiVersion, execApiName } from "./exec-api.ts";
import type { SourceValue } from "./yaml-source.ts";

/** One cluster as kubectl finds it through the local proxy. */
export interface KubeconfigEntry {
  /** Name of the cluster and of the user; its prefix says that it is ours. */
  readonly name: string;
  /** Name of the context, which a person types. */
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
  /** The version that the entry names, where it is not the newest. */
  readonly execApi?: ExecApiVersion | undefined;
}

/** Entries whose cluster and user begin with this are made and removed by this tool; all others are left alone. */
export const OWN_PREFIX = "cluster-connect/";

/**
 * Names of contexts are one line that a person can type.
 *
 * @throws ConnectError `CC_USAGE`
 */
export function checkContextName(name: string): void {
  if (name !== "" && printable(name) === name) return;
  throw new ConnectError("CC_USAGE", "--kube-context is empty, or holds what no terminal shows");
}

/** Names the entry of a cluster; the same cluster id at two relays is two clusters. */
export function entryName(relay: URL, cluster: ClusterId): string {
  return `${OWN_PREFIX}${relay.host}/${cluster}`;
}

/** How kubectl gets a token for one cluster: each may take tokens of its own. */
export function credentialFor(credential: CredentialCommand, cluster: ClusterId): CredentialCommand {
  return { ...credential, args: [...credential.args, "--name", cluster] };
}

/** For a client that knows another version only; the command answers in it also where the client does not say so. */
export function withExecApi(credential: CredentialCommand, version: ExecApiVersion | undefined): CredentialCommand {
  if (version === undefined || version === "v1") return credential;
  return { ...credential, args: [...credential.args, "--exec-api-version", version], execApi: version };
}

/** As {@link credentialFor}, for an entry that starts its own proxy, wherever it is taken to. */
export function lastingCredential(
  credential: CredentialCommand,
  cluster: ClusterId,
  port: number,
  fingerprints: readonly string[],
): CredentialCommand {
  const { args } = credentialFor(credential, cluster);
  const trusted = fingerprints.flatMap((fingerprint) => ["--cluster-fingerprint", `${cluster}=${fingerprint}`]);
  return { ...credential, args: [...args, "--port", String(port), ...trusted] };
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
export function userValue(entry: KubeconfigEntry): Readonly<Record<string, SourceValue>> {
  return {
    exec: {
      apiVersion: execApiName(entry.credential.execApi ?? "v1"),
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
