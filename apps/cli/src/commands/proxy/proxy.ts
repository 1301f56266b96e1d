import { rm } from "node:fs/promises";
import { untilAborted } from "@cluster-connect/base";
import { type ClusterId, ConnectError } from "@cluster-connect/protocol";
import { requireNames } from "../../cluster/find.ts";
import type { ClusterTrustFlags } from "../../cluster/trust-sources.ts";
import type { CliDeps } from "../../deps.ts";
import { writePrivateFile } from "../../files/private-file.ts";
import { formatProcessId, identifyProcess } from "../../files/process-id.ts";
import { createWorkFolder, sweepWorkFolders } from "../../files/work-folder.ts";
import { parseKubeconfig } from "../../kubeconfig/document.ts";
import {
  type CredentialCommand,
  checkContextName,
  credentialFor,
  entryName,
  type KubeconfigEntry,
  withExecApi,
} from "../../kubeconfig/entry.ts";
import type { ExecApiVersion } from "../../kubeconfig/exec-api.ts";
import { checkKubeconfig } from "../../kubeconfig/file.ts";
import { readKeptEntries } from "../../kubeconfig/kept-entries.ts";
import { chooseKeptPort } from "../../kubeconfig/kept-port.ts";
import { type KubeconfigTarget, locateKubeconfig } from "../../kubeconfig/location.ts";
import { currentElsewhere, refuseMasked } from "../../kubeconfig/merged.ts";
import { enterKubeconfig, leaveKubeconfig, repairKubeconfigs } from "../../proxies/kubeconfig-share.ts";
import { hasProxyRecord, proxiesFolder, writeProxyRecord } from "../../proxies/list.ts";
import type { ProxyRecord } from "../../proxies/record.ts";
import { isPortFree } from "../../proxy/free-port.ts";
import { type ClusterProxy, openProxy } from "../../proxy/open-proxy.ts";
import { createProofSecret } from "../../proxy/proof.ts";
import { chooseRelay, type RelayChoice, type RelayFlags } from "../../relay/choice.ts";
import { foldersOf } from "../../settings/folders.ts";
import { createScreen, type Screen } from "../../terminal/screen.ts";
import { chooseTokens } from "../../tokens/choose-tokens.ts";
import { findGivenTokens, type TokenFlags } from "../../tokens/given/token-flags.ts";
import type { CommandContext } from "../context.ts";
import { credentialCommand } from "../login/command-tokens.ts";

export interface ProxyFlags extends RelayFlags, TokenFlags, ClusterTrustFlags {
  readonly name?: readonly string[];
  readonly resourceGroup?: string;
  readonly port: number;
  readonly file?: string;
  readonly kubeContext?: string;
  readonly execApiVersion?: ExecApiVersion;
  /** Leaves the entries in the kubeconfig at the end. */
  readonly keep?: boolean;
  readonly readyFile?: string;
  /** Seconds. */
  readonly wait?: number;
  /** Set for a proxy in the background: where its screen goes. */
  readonly logFile?: string;
  /** Set for a proxy that entries of `kubeconfig add` start: there is no kubeconfig to change. */
  readonly serveOnly?: boolean;
}

/** Facts that are known before anything is opened. */
interface Plan {
  readonly names: readonly string[];
  readonly target: KubeconfigTarget;
  readonly relay: RelayChoice;
  /** This proxy's own folder. */
  readonly folder: string;
  readonly parent: string;
  readonly existed: boolean;
  readonly proofSecret: string;
}

const PREFIX = "proxy-";

/** Keeps a local port to clusters open, with a kubeconfig that leads there, until it is asked to end. */
export async function serveProxy(flags: ProxyFlags, context: CommandContext): Promise<void> {
  const { deps, signal } = context;
  const plan = await makePlan(flags, context);
  const screen = createScreen(deps, { quiet: false });
  const end = new AbortController();
  let opened: ClusterProxy | undefined;
  try {
    const given = await findGivenTokens(flags, deps);
    const newest = await credentialCommand(plan.relay, given, { folder: plan.folder, signal: context.signal }, deps);
    const credential = withExecApi(newest, flags.execApiVersion);
    opened = await openProxy(
      {
        relay: plan.relay,
        names: plan.names,
        group: flags.resourceGroup,
        trust: flags,
        port: flags.port,
        ownPort: await ownPorts(flags.port, plan.relay, deps),
        proofSecret: plan.proofSecret,
        ...(flags.wait === undefined ? {} : { waitMs: flags.wait * 1_000 }),
        signal: AbortSignal.any([signal, end.signal]),
      },
      { cli: deps, tokens: chooseTokens(plan.relay.url, given, deps), screen },
    );
    const entries = entriesFor(opened, plan.relay, flags.kubeContext, credential);
    await enterProxy(plan, opened, entries, flags, context);
    try {
      await tellReady(flags, { opened, entries, target: plan.target }, deps, screen);
      await untilAborted(signal);
      // The terminal shows ^C in front of the next text.
      if (deps.stderr.isTerminal) screen.line("");
    } finally {
      if (flags.readyFile !== undefined) await rm(flags.readyFile, { force: true });
      await leaveProxy(plan, flags.keep === true);
      if (signal.aborted) screen.event(describeEnd(plan.target, entries, flags.keep === true));
    }
  } finally {
    end.abort(new ConnectError("CC_CANCELLED", "The proxy has ended"));
    await opened?.closed;
    await rm(plan.folder, { recursive: true, force: true });
  }
}

/** Looks at what was typed, cleans up after proxies that were killed, and makes this one's folder. */
async function makePlan(flags: ProxyFlags, { deps, signal }: CommandContext): Promise<Plan> {
  const names = requireNames(flags.name);
  if (flags.kubeContext !== undefined && names.length > 1) {
    throw new ConnectError("CC_USAGE", "--kube-context names one context, but there are several clusters");
  }
  if (flags.kubeContext !== undefined) checkContextName(flags.kubeContext);
  const target: KubeconfigTarget = flags.serveOnly === true ? { kind: "none" } : locateKubeconfig(flags.file, deps);
  const parent = proxiesFolder(deps);
  for (const { message } of await repairKubeconfigs(parent, { signal })) {
    deps.stderr.write(`warning: a proxy that was killed is still in a kubeconfig: ${message}\n`);
  }
  await sweepWorkFolders(parent, PREFIX, hasProxyRecord);
  // A kubeconfig that cannot be used is found before anything is opened.
  const contexts = flags.kubeContext === undefined ? namedContexts(flags) : [flags.kubeContext];
  const existed = target.kind === "file" && (await checkKubeconfig(target.path, contexts));
  const relay = await chooseRelay(flags, deps);
  if (target.kind === "file") await refuseMasked(target.path, { contexts, clusters: [] }, deps);
  const folder = await createWorkFolder(parent, PREFIX, deps.pid);
  return { names, target, relay, parent, existed, folder, proofSecret: createProofSecret() };
}

/** Only the relay knows the names of clusters in a group. */
function namedContexts({ name, resourceGroup }: ProxyFlags): readonly string[] {
  return resourceGroup === undefined ? (name ?? []) : [];
}

/**
 * Chooses the port of each cluster where there are several: the same one each time while it is free, so that a
 * kubeconfig which was printed leads to the next proxy as well.
 */
async function ownPorts(
  port: number,
  relay: RelayChoice,
  deps: CliDeps,
): Promise<(cluster: ClusterId) => Promise<number>> {
  if (port === 0) return async () => 0;
  const taken = new Set((await readKeptEntries(foldersOf(deps))).map(({ entry }) => entry.port)).add(port);
  return async (cluster) => {
    const own = await chooseKeptPort(entryName(relay.url, cluster), taken, isPortFree);
    taken.add(own);
    return own;
  };
}

function entriesFor(
  opened: ClusterProxy,
  relay: RelayChoice,
  context: string | undefined,
  credential: CredentialCommand,
): readonly KubeconfigEntry[] {
  return opened.clusters.map(({ cluster, trust, port }) => ({
    name: entryName(relay.url, cluster.id),
    context: context ?? cluster.id,
    port,
    serverName: cluster.serverName,
    authorities: trust.authorities.pem,
    credential: credentialFor(credential, cluster.id),
  }));
}

/** Says where this proxy is, and puts its entries where kubectl finds them. */
async function enterProxy(
  plan: Plan,
  opened: ClusterProxy,
  entries: readonly KubeconfigEntry[],
  flags: ProxyFlags,
  { deps, signal }: CommandContext,
): Promise<void> {
  const { target } = plan;
  const record: Omit<ProxyRecord, "former"> = {
    process: formatProcessId(identifyProcess(deps.pid)),
    startedAt: new Date(deps.now()).toISOString(),
    relay: plan.relay.url.origin,
    clusters: opened.clusters.map(({ cluster }) => cluster.id),
    port: opened.port,
    proofSecret: plan.proofSecret,
    ready: true,
    log: flags.logFile ?? null,
    kubeconfig: target.kind === "file" ? target.path : null,
    entries,
    existed: plan.existed,
  };
  if (target.kind === "file") {
    const contexts = entries.map(({ context }) => context);
    await refuseMasked(target.path, { contexts, clusters: entries.map(({ name }) => name) }, deps);
    return await enterKubeconfig(target.path, record, { ...plan, signal });
  }
  await writeProxyRecord(plan.folder, { ...record, former: null });
  if (target.kind === "none") return;
  const document = parseKubeconfig("", "the new kubeconfig");
  document.add(entries);
  deps.stdout.write(document.toString());
}

async function leaveProxy(plan: Plan, keep: boolean): Promise<void> {
  if (plan.target.kind !== "file") return;
  // The command's own signal is aborted by now; this must happen nevertheless.
  const { signal } = new AbortController();
  await leaveKubeconfig(plan.target.path, { ...plan, signal, keep });
}

function describeEnd(target: KubeconfigTarget, entries: readonly KubeconfigEntry[], keep: boolean): string {
  if (target.kind !== "file" || keep) return "Ended";
  return `Ended; ${entries.map(({ context }) => context).join(", ")} is out of ${target.path} again`;
}

/** A proxy that listens, and the place that names it to kubectl. */
interface ReadyProxy {
  readonly opened: ClusterProxy;
  readonly entries: readonly KubeconfigEntry[];
  readonly target: KubeconfigTarget;
}

async function tellReady(
  flags: ProxyFlags,
  { opened, entries, target }: ReadyProxy,
  deps: CliDeps,
  screen: Screen,
): Promise<void> {
  const contexts = entries.map(({ context }) => context);
  const kubeconfig = target.kind === "file" ? target.path : undefined;
  screen.fact("listening", `127.0.0.1:${opened.port}`);
  if (entries.length > 1) for (const { context, port } of entries) screen.fact(context, `127.0.0.1:${port}`);
  screen.line("");
  if (kubeconfig === undefined) screen.line("The kubeconfig is on standard output. Then, in another terminal:");
  else screen.line(`Added to ${kubeconfig}. In another terminal:`);
  for (const context of contexts) screen.line(`  kubectl --context ${context} get namespaces`);
  screen.line("");
  const other = kubeconfig === undefined ? undefined : await currentElsewhere(kubeconfig, deps);
  if (other !== undefined) screen.line(`Without --context kubectl uses ${other.context}, as ${other.file} says first.`);
  if (flags.readyFile !== undefined) {
    const ports = entries.map(({ port }) => port);
    const ready = { pid: deps.pid, port: opened.port, contexts, ports, kubeconfig: kubeconfig ?? null };
    await writePrivateFile(flags.readyFile, `${JSON.stringify(ready)}\n`);
  }
  const end = flags.keep === true || kubeconfig === undefined ? "" : ` and takes it out of ${kubeconfig} again`;
  screen.line(`Ctrl-C ends it${end}.`);
}
