import { rm } from "node:fs/promises";
import { ConnectError } from "@cluster-connect/protocol";
import { requireNames } from "../clusters/find.ts";
import { openWay, type Way } from "../clusters/way.ts";
import type { CliDeps } from "../deps.ts";
import { writePrivateFile } from "../files/private-file.ts";
import { formatProcessId, identifyProcess } from "../files/process-id.ts";
import { createWorkFolder, sweepWorkFolders } from "../files/work-folder.ts";
import { parseKubeconfig } from "../kubeconfig/document.ts";
import { type CredentialCommand, entryName, type KubeconfigEntry } from "../kubeconfig/entry.ts";
import { checkKubeconfig } from "../kubeconfig/file.ts";
import { type KubeconfigTarget, locateKubeconfig } from "../kubeconfig/location.ts";
import { enterKubeconfig, leaveKubeconfig, repairKubeconfigs } from "../proxies/kubeconfig-share.ts";
import type { ProxyRecord } from "../proxies/record.ts";
import { hasProxyRecord, proxiesFolder, writeProxyRecord } from "../proxies/running.ts";
import { createScreen, type Screen } from "../screen.ts";
import { chooseRelay, type RelayChoice, type RelayFlags } from "../settings/relay-choice.ts";
import { chooseTokens } from "../tokens/choose-tokens.ts";
import { findGivenTokens, type TokenFlags } from "../tokens/token-flags.ts";
import { credentialCommand } from "./command-tokens.ts";
import type { CommandContext } from "./context.ts";

export interface ProxyFlags extends RelayFlags, TokenFlags {
  readonly name?: readonly string[];
  readonly resourceGroup?: string;
  readonly port: number;
  readonly file?: string;
  readonly kubeContext?: string;
  /** Leaves the entries in the kubeconfig at the end. */
  readonly keep?: boolean;
  readonly readyFile?: string;
  readonly wait: number;
  /** Set for a proxy in the background: where its screen goes. */
  readonly logFile?: string;
  /** Set for a proxy that entries of `kubeconfig add` start: there is no kubeconfig to change. */
  readonly serveOnly?: boolean;
}

/** What is known before anything is opened. */
interface Plan {
  readonly names: readonly string[];
  readonly target: KubeconfigTarget;
  readonly relay: RelayChoice;
  /** This proxy's own folder. */
  readonly folder: string;
  readonly parent: string;
  readonly existed: boolean;
}

const PREFIX = "proxy-";

/** Keeps a local port to clusters open, with a kubeconfig that leads there, until it is asked to end. */
export async function proxy(flags: ProxyFlags, context: CommandContext): Promise<void> {
  const { deps, signal } = context;
  const plan = await makePlan(flags, context);
  const screen = createScreen(deps, { quiet: false });
  const end = new AbortController();
  let way: Way | undefined;
  try {
    const given = await findGivenTokens(flags, deps);
    const credential = await credentialCommand(plan.relay, given, plan.folder, deps);
    way = await openWay(
      {
        relay: plan.relay,
        names: plan.names,
        group: flags.resourceGroup,
        port: flags.port,
        waitMs: flags.wait * 1_000,
        signal: AbortSignal.any([signal, end.signal]),
      },
      { cli: deps, tokens: chooseTokens(plan.relay.url, given, deps), screen },
    );
    const entries = entriesFor(way, plan.relay, flags.kubeContext, credential);
    await enter(plan, way, entries, flags, context);
    try {
      await tellReady(flags, way, entries, plan.target, deps, screen);
      await untilAborted(signal);
      // The terminal shows ^C in front of what comes next.
      if (deps.stderr.isTerminal) screen.line("");
    } finally {
      if (flags.readyFile !== undefined) await rm(flags.readyFile, { force: true });
      await leave(plan, flags.keep === true);
      if (signal.aborted) screen.event(describeEnd(plan.target, entries, flags.keep === true));
    }
  } finally {
    end.abort(new ConnectError("CC_CANCELLED", "The proxy has ended"));
    await way?.closed;
    await rm(plan.folder, { recursive: true, force: true });
  }
}

/** Looks at what was typed, cleans up after proxies that were killed, and makes this one's folder. */
async function makePlan(flags: ProxyFlags, { deps, signal }: CommandContext): Promise<Plan> {
  const names = requireNames(flags.name);
  if (flags.kubeContext !== undefined && names.length > 1) {
    throw new ConnectError("CC_USAGE", "--kube-context names one context, but there are several clusters");
  }
  const target: KubeconfigTarget = flags.serveOnly === true ? { kind: "none" } : locateKubeconfig(flags.file, deps);
  const parent = proxiesFolder(deps);
  await repairKubeconfigs(parent, { signal });
  await sweepWorkFolders(parent, PREFIX, hasProxyRecord);
  // A kubeconfig that cannot be used is found before anything is opened.
  const existed = target.kind === "file" && (await checkKubeconfig(target.path));
  const relay = await chooseRelay(flags, deps);
  return { names, target, relay, parent, existed, folder: await createWorkFolder(parent, PREFIX, deps.pid) };
}

function entriesFor(
  way: Way,
  relay: RelayChoice,
  context: string | undefined,
  credential: CredentialCommand,
): readonly KubeconfigEntry[] {
  return way.clusters.map(({ cluster, trust }) => ({
    name: entryName(relay.url, cluster.id),
    context: context ?? cluster.id,
    port: way.port,
    serverName: cluster.serverName,
    authorities: trust.authorities.pem,
    credential,
  }));
}

/** Says where this proxy is, and puts its entries where kubectl finds them. */
async function enter(
  plan: Plan,
  way: Way,
  entries: readonly KubeconfigEntry[],
  flags: ProxyFlags,
  { deps, signal }: CommandContext,
): Promise<void> {
  const { target } = plan;
  const record: Omit<ProxyRecord, "former"> = {
    process: formatProcessId(identifyProcess(deps.pid)),
    startedAt: new Date(deps.now()).toISOString(),
    relay: plan.relay.url.origin,
    clusters: way.clusters.map(({ cluster }) => cluster.id),
    port: way.port,
    ready: true,
    log: flags.logFile ?? null,
    kubeconfig: target.kind === "file" ? target.path : null,
    entries,
    existed: plan.existed,
  };
  if (target.kind === "file") return await enterKubeconfig(target.path, record, { ...plan, signal });
  await writeProxyRecord(plan.folder, { ...record, former: null });
  if (target.kind === "none") return;
  const document = parseKubeconfig("", "the new kubeconfig");
  document.add(entries);
  deps.stdout.write(document.toString());
}

async function leave(plan: Plan, keep: boolean): Promise<void> {
  if (plan.target.kind !== "file") return;
  // The command's own signal is aborted by now; this must happen nevertheless.
  const { signal } = new AbortController();
  await leaveKubeconfig(plan.target.path, { ...plan, signal, keep });
}

function describeEnd(target: KubeconfigTarget, entries: readonly KubeconfigEntry[], keep: boolean): string {
  if (target.kind !== "file" || keep) return "Ended";
  return `Ended; ${entries.map(({ context }) => context).join(", ")} is out of ${target.path} again`;
}

async function tellReady(
  flags: ProxyFlags,
  way: Way,
  entries: readonly KubeconfigEntry[],
  target: KubeconfigTarget,
  deps: CliDeps,
  screen: Screen,
): Promise<void> {
  const contexts = entries.map(({ context }) => context);
  const kubeconfig = target.kind === "file" ? target.path : undefined;
  screen.fact("listening", `127.0.0.1:${way.port}`);
  screen.line("");
  if (kubeconfig === undefined) screen.line("The kubeconfig is on standard output. Then, in another terminal:");
  else screen.line(`Added to ${kubeconfig}. In another terminal:`);
  for (const context of contexts) screen.line(`  kubectl --context ${context} get namespaces`);
  screen.line("");
  if (flags.readyFile !== undefined) {
    const ready = { pid: deps.pid, port: way.port, contexts, kubeconfig: kubeconfig ?? null };
    await writePrivateFile(flags.readyFile, `${JSON.stringify(ready)}\n`);
  }
  const end = flags.keep === true || kubeconfig === undefined ? "" : ` and takes it out of ${kubeconfig} again`;
  screen.line(`Ctrl-C ends it${end}.`);
}

async function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
