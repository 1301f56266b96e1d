import { randomUUID } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { ConnectError } from "@cluster-connect/protocol";
import { requireNames } from "../clusters/find.ts";
import { openWay, type Way } from "../clusters/way.ts";
import type { SelfCommand } from "../deps.ts";
import { makePrivateFolder, writePrivateFile } from "../files/private-file.ts";
import { parseKubeconfig } from "../kubeconfig/document.ts";
import { entryName, type KubeconfigEntry } from "../kubeconfig/entry.ts";
import { changeKubeconfig, checkKubeconfig } from "../kubeconfig/file.ts";
import { type KubeconfigTarget, locateKubeconfig } from "../kubeconfig/location.ts";
import { createScreen, type Screen } from "../screen.ts";
import { foldersOf } from "../settings/folders.ts";
import { chooseRelay, type RelayChoice, type RelayFlags } from "../settings/relay-choice.ts";
import { chooseTokens } from "../tokens/choose-tokens.ts";
import { findGivenTokens, type TokenFlags } from "../tokens/token-flags.ts";
import { credentialCommand } from "./command-tokens.ts";
import type { CommandContext } from "./context.ts";

export interface ProxyFlags extends RelayFlags, TokenFlags {
  readonly name?: readonly string[];
  readonly port: number;
  readonly file?: string;
  readonly kubeContext?: string;
  /** Leaves the entries in the kubeconfig at the end. */
  readonly keep?: boolean;
  readonly readyFile?: string;
  readonly wait: number;
}

/** Keeps a local port to clusters open, with a kubeconfig that leads there, until it is asked to end. */
export async function proxy(flags: ProxyFlags, context: CommandContext): Promise<void> {
  const { deps, signal } = context;
  const names = requireNames(flags.name);
  if (flags.kubeContext !== undefined && names.length > 1) {
    throw new ConnectError("CC_USAGE", "--kube-context names one context, but there are several clusters");
  }
  const target = locateKubeconfig(flags.file, deps);
  // A kubeconfig that cannot be used is found before anything is opened.
  const existed = target.kind === "file" && (await checkKubeconfig(target.path));
  const screen = createScreen(deps, { quiet: false });
  const relay = await chooseRelay(flags, deps);
  const given = await findGivenTokens(flags, deps);
  const folder = join(foldersOf(deps).state, "proxies", `${deps.pid}-${randomUUID()}`);
  await makePrivateFolder(folder);
  const end = new AbortController();
  let way: Way | undefined;
  try {
    const credential = await credentialCommand(relay, given, folder, deps);
    way = await openWay(
      {
        relay,
        names,
        port: flags.port,
        waitMs: flags.wait * 1_000,
        signal: AbortSignal.any([signal, end.signal]),
      },
      { cli: deps, tokens: chooseTokens(relay.url, given, deps), screen },
    );
    const entries = entriesFor(way, relay, flags.kubeContext, credential);
    const restore = await writeEntries(target, entries, { keep: flags.keep === true, existed }, context);
    try {
      await tellReady(flags, way, entries, target, context, screen);
      await untilAborted(signal);
    } finally {
      if (flags.readyFile !== undefined) await rm(flags.readyFile, { force: true });
      await restore();
    }
  } finally {
    end.abort(new ConnectError("CC_CANCELLED", "The proxy has ended"));
    await way?.closed;
    await rm(folder, { recursive: true, force: true });
  }
}

function entriesFor(
  way: Way,
  relay: RelayChoice,
  context: string | undefined,
  credential: SelfCommand,
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

/** @returns what takes the entries away again. */
async function writeEntries(
  target: KubeconfigTarget,
  entries: readonly KubeconfigEntry[],
  options: { readonly keep: boolean; readonly existed: boolean },
  { deps, signal }: CommandContext,
): Promise<() => Promise<void>> {
  if (target.kind === "stdout") {
    const document = parseKubeconfig("", "the new kubeconfig");
    document.add(entries);
    deps.stdout.write(document.toString());
    return async () => {};
  }
  const names = entries.map(({ name }) => name);
  const former = await changeKubeconfig(target.path, { signal }, (document) => {
    const before = document.currentContext;
    document.add(entries);
    return before;
  });
  return async () => {
    if (options.keep) return;
    // The command's own signal is aborted by now; this must happen nevertheless.
    const { signal: never } = new AbortController();
    await changeKubeconfig(target.path, { signal: never, removeEmpty: !options.existed }, (document) => {
      document.remove(names, former);
    });
  };
}

async function tellReady(
  flags: ProxyFlags,
  way: Way,
  entries: readonly KubeconfigEntry[],
  target: KubeconfigTarget,
  { deps }: CommandContext,
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
  const end = flags.keep === true || kubeconfig === undefined ? "" : ` and takes it out of ${kubeconfig} again`;
  screen.line(`Ctrl-C ends it${end}.`);
  if (flags.readyFile !== undefined) {
    const ready = { pid: deps.pid, port: way.port, contexts, kubeconfig: kubeconfig ?? null };
    await writePrivateFile(flags.readyFile, `${JSON.stringify(ready)}\n`);
  }
}

async function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
