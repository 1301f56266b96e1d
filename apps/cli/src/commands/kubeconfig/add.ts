import { ConnectError } from "@cluster-connect/protocol";
import { findClusters, requireNames } from "../../cluster/find.ts";
import { describeNewTrust, trustCluster } from "../../cluster/trust.ts";
import { type ClusterTrustFlags, loadTrustSources } from "../../cluster/trust-sources.ts";
import {
  type CredentialCommand,
  checkContextName,
  entryName,
  type KubeconfigEntry,
  lastingCredential,
  withExecApi,
} from "../../kubeconfig/entry.ts";
import type { ExecApiVersion } from "../../kubeconfig/exec-api.ts";
import { changeKubeconfig, checkKubeconfig } from "../../kubeconfig/file.ts";
import { changeKeptEntries, type KeptEntry } from "../../kubeconfig/kept-entries.ts";
import { chooseKeptPort } from "../../kubeconfig/kept-port.ts";
import { locateKubeconfigFile } from "../../kubeconfig/location.ts";
import { refuseMasked } from "../../kubeconfig/merged.ts";
import { isPassing } from "../../platform/launcher.ts";
import { isPortFree } from "../../proxy/free-port.ts";
import { type Cluster, fetchClusters } from "../../relay/api.ts";
import { chooseRelay, type RelayChoice, type RelayFlags } from "../../relay/choice.ts";
import { foldersOf } from "../../settings/folders.ts";
import { chooseTokens } from "../../tokens/choose-tokens.ts";
import { findGivenTokens, type TokenFlags } from "../../tokens/given/token-flags.ts";
import type { CommandContext } from "../context.ts";
import { credentialCommand } from "../login/command-tokens.ts";

export interface KubeconfigAddFlags extends RelayFlags, TokenFlags, ClusterTrustFlags {
  readonly name?: readonly string[];
  readonly resourceGroup?: string;
  readonly file?: string;
  readonly kubeContext?: string;
  readonly port?: number;
  /** Undefined: as the entry has it already. */
  readonly execApiVersion?: ExecApiVersion;
}

/** Adds entries that stay: kubectl's credential plugin starts a proxy when none runs. */
export async function addToKubeconfig(flags: KubeconfigAddFlags, context: CommandContext): Promise<void> {
  const { deps, signal } = context;
  const names = requireNames(flags.name);
  if (names.length > 1 && (flags.kubeContext !== undefined || flags.port !== undefined)) {
    throw new ConnectError("CC_USAGE", "--kube-context and --port are for one cluster, but there are several");
  }
  if (flags.token !== undefined || flags.tokenFile === "-") {
    throw new ConnectError("CC_USAGE", "A token that is given as text cannot stay in an entry", {
      hint: "Give --token-file FILE, which is read each time, or sign in with `cluster-connect login`.",
    });
  }
  if (flags.kubeContext !== undefined) checkContextName(flags.kubeContext);
  const kubeconfig = locateKubeconfigFile(flags.file, deps);
  // Before the relay is asked: a person signs in for nothing otherwise.
  await checkKubeconfig(kubeconfig);
  const relay = await chooseRelay(flags, deps);
  const given = await findGivenTokens(flags, deps);
  const { token } = await chooseTokens(relay.url, given, deps).token("relay", { signal });
  const offered = await fetchClusters(relay.url, token, { signal }, deps);
  const found = findClusters(names, offered, relay.url.origin, flags.resourceGroup);
  // Only a token's file can stay: a token in the environment now may not be there again.
  const lasting = { named: given.named, relay: onlyFile(given.relay), cluster: onlyFile(given.cluster) };
  const base = await credentialCommand(relay, lasting, { folder: foldersOf(deps).state, signal }, deps);
  const relayToken = lasting.relay === undefined ? [] : ["--relay-token-file", lasting.relay.path];
  const credential = { ...base, args: [...base.args, ...relayToken] };
  if (isPassing(deps.self)) {
    deps.stderr.write(
      "warning: this program runs from a cache that is emptied by itself; install it, and add the entry again: " +
        "npm install -g @cluster-connect/cli\n",
    );
  }
  for (const cluster of found) {
    const added = await addOne(cluster, { kubeconfig, relay, credential }, flags, context);
    const { context: name, port } = added.entry;
    deps.stderr.write(`Added ${name} to ${kubeconfig}; kubectl starts what it needs (port ${port}).\n`);
  }
}

/** The parts that all entries of one command share. */
interface NewEntries {
  /** Path of the file. */
  readonly kubeconfig: string;
  readonly relay: RelayChoice;
  readonly credential: CredentialCommand;
}

async function addOne(
  cluster: Cluster,
  { kubeconfig, relay, credential }: NewEntries,
  flags: KubeconfigAddFlags,
  { deps, signal }: CommandContext,
): Promise<KeptEntry> {
  const folders = foldersOf(deps);
  const origin = relay.url.origin;
  const sources = await loadTrustSources(relay.url, flags, { signal }, deps);
  const trust = await trustCluster(origin, cluster, sources, { signal, now: deps.now() });
  for (const line of describeNewTrust(cluster.id, trust)) deps.stderr.write(`${line}\n`);
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
        const versioned = withExecApi(credential, flags.execApiVersion ?? old?.entry.credential.execApi);
        await refuseMasked(kubeconfig, { contexts: [context], clusters: [name] }, deps);
        const entry: KubeconfigEntry = {
          name,
          context,
          port,
          serverName: cluster.serverName,
          authorities: trust.authorities.pem,
          credential: lastingCredential(versioned, cluster.id, port, trust.authorities.fingerprints),
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
