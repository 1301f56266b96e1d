import { ConnectError } from "@cluster-connect/protocol";
import { findClusters, requireNames } from "../clusters/find.ts";
import { openKnownClusters } from "../clusters/known-clusters.ts";
import { describeFirstSeen, trustCluster } from "../clusters/trust.ts";
import type { CliDeps } from "../deps.ts";
import { type CredentialCommand, entryName, type KubeconfigEntry } from "../kubeconfig/entry.ts";
import { changeKubeconfig } from "../kubeconfig/file.ts";
import { changeKeptEntries, type KeptEntry } from "../kubeconfig/kept-entries.ts";
import { chooseKeptPort } from "../kubeconfig/kept-port.ts";
import { locateKubeconfigFile } from "../kubeconfig/location.ts";
import { isPortFree } from "../local-proxy/free-port.ts";
import { type Cluster, fetchClusters } from "../relay-api.ts";
import { foldersOf } from "../settings/folders.ts";
import { chooseRelay, type RelayChoice, type RelayFlags } from "../settings/relay-choice.ts";
import { chooseTokens } from "../tokens/choose-tokens.ts";
import { findGivenTokens, type TokenFlags } from "../tokens/token-flags.ts";
import { credentialCommand } from "./command-tokens.ts";
import type { CommandContext } from "./context.ts";

export interface KubeconfigAddFlags extends RelayFlags, TokenFlags {
  readonly name?: readonly string[];
  readonly resourceGroup?: string;
  readonly file?: string;
  readonly kubeContext?: string;
  readonly port?: number;
}

/** Adds entries that stay: kubectl's credential plugin starts a proxy when none runs. */
export async function addToKubeconfig(flags: KubeconfigAddFlags, { deps, signal }: CommandContext): Promise<void> {
  const names = requireNames(flags.name);
  if (names.length > 1 && (flags.kubeContext !== undefined || flags.port !== undefined)) {
    throw new ConnectError("CC_USAGE", "--kube-context and --port are for one cluster, but there are several");
  }
  if (flags.token !== undefined || flags.tokenFile === "-") {
    throw new ConnectError("CC_USAGE", "A token that is given as text cannot stay in an entry", {
      hint: "Give --token-file FILE, which is read each time, or sign in with `cluster-connect login`.",
    });
  }
  const kubeconfig = locateKubeconfigFile(flags.file, deps);
  const relay = await chooseRelay(flags, deps);
  const given = await findGivenTokens(flags, deps);
  const { token } = await chooseTokens(relay.url, given, deps).token("relay", { signal });
  const offered = await fetchClusters(relay.url, token, { signal }, deps);
  const found = findClusters(names, offered, relay.url.origin, flags.resourceGroup);
  // Only a token's file can stay: what is in the environment now will be there again, or not.
  const lasting = { relay: onlyFile(given.relay), cluster: onlyFile(given.cluster) };
  const base = await credentialCommand(relay, lasting, foldersOf(deps).state, deps);
  const relayToken = lasting.relay === undefined ? [] : ["--relay-token-file", lasting.relay.path];
  const credential = { ...base, args: [...base.args, ...relayToken] };
  for (const cluster of found) {
    const added = await addOne(cluster, kubeconfig, relay, credential, flags, signal, deps);
    const { context, port } = added.entry;
    deps.stderr.write(`Added ${context} to ${kubeconfig}; kubectl starts what it needs (port ${port}).\n`);
  }
}

async function addOne(
  cluster: Cluster,
  kubeconfig: string,
  relay: RelayChoice,
  credential: CredentialCommand,
  flags: KubeconfigAddFlags,
  signal: AbortSignal,
  deps: CliDeps,
): Promise<KeptEntry> {
  const folders = foldersOf(deps);
  const origin = relay.url.origin;
  const trust = await trustCluster(origin, cluster, openKnownClusters(folders), { signal, now: deps.now() });
  if (trust.isNew) {
    for (const line of describeFirstSeen(cluster.id, trust.authorities)) deps.stderr.write(`${line}\n`);
  }
  const name = entryName(relay.url, cluster.id);
  let added: KeptEntry | undefined;
  let formerContext: string | undefined;
  await changeKubeconfig(kubeconfig, { signal }, async (document) => {
    const before = document.currentContext ?? null;
    await changeKeptEntries(
      folders,
      { signal },
      async (kept) => {
        const port = flags.port ?? (await portFor(name, kept));
        const others = kept.filter((one) => !(one.kubeconfig === kubeconfig && one.entry.name === name));
        const old = kept.find((one) => !others.includes(one));
        formerContext = old?.entry.context;
        const context = flags.kubeContext ?? old?.entry.context ?? cluster.id;
        const entry: KubeconfigEntry = {
          ...{ name, context, port, serverName: cluster.serverName, authorities: trust.authorities.pem },
          credential: { ...credential, args: [...credential.args, "--name", cluster.id, "--port", String(port)] },
        };
        added = { kubeconfig, relay: origin, cluster: cluster.id, entry, former: old?.former ?? before };
        return [...others, added];
      },
      async () => {
        if (added === undefined) return;
        if (formerContext !== undefined && formerContext !== added.entry.context) document.remove([name], undefined);
        document.add([added.entry]);
      },
    );
  });
  if (added === undefined) throw new ConnectError("CC_INTERNAL", `${cluster.id} was not added`);
  return added;
}

async function portFor(name: string, kept: readonly KeptEntry[]): Promise<number> {
  const same = kept.find(({ entry }) => entry.name === name);
  if (same !== undefined) return same.entry.port;
  return await chooseKeptPort(name, new Set(kept.map(({ entry }) => entry.port)), isPortFree);
}

function onlyFile<T extends { readonly kind: string }>(given: T | undefined): Extract<T, { kind: "file" }> | undefined {
  return given !== undefined && isFile(given) ? given : undefined;
}

function isFile<T extends { readonly kind: string }>(given: T): given is Extract<T, { kind: "file" }> {
  return given.kind === "file";
}
