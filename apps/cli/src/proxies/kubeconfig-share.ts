import { rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type ConnectError, toConnectError } from "@cluster-connect/protocol";
import type { KubeconfigDocument } from "../kubeconfig/document.ts";
import type { KubeconfigEntry } from "../kubeconfig/entry.ts";
import { changeKubeconfig, readKubeconfig } from "../kubeconfig/file.ts";
import { readKeptEntries } from "../kubeconfig/kept-entries.ts";
import { isRunning, type KnownProxy, listProxies, writeProxyRecord } from "./list.ts";
import type { ProxyRecord } from "./record.ts";

/** A proxy's record before it is in a kubeconfig. */
export type NewRecord = Omit<ProxyRecord, "former">;

export interface ShareOptions {
  readonly signal: AbortSignal;
  /** Folder of all proxies. */
  readonly parent: string;
  /** This proxy's own, inside of it. */
  readonly folder: string;
}

/**
 * Adds a proxy's entries to its kubeconfig and writes its record, both under the kubeconfig's lock. Entries that killed
 * proxies left in that file go first.
 *
 * @throws ConnectError as `changeKubeconfig`; nothing was changed then.
 */
export async function enterKubeconfig(path: string, record: NewRecord, options: ShareOptions): Promise<void> {
  let entered: ProxyRecord | undefined;
  await changeKubeconfig(path, options, async (document) => {
    const others = await sharing(path, options);
    const kept = await keptIn(path, options);
    const heirs = await running(others, options);
    for (const dead of others.filter(({ liveness }) => liveness === "gone")) {
      retire(document, dead.record, heirs, kept);
      await rm(dead.folder, { recursive: true, force: true });
    }
    const former = formerContext(document, others);
    document.add(record.entries);
    // The first proxy knows whether the file was there before all of them.
    const existed = record.existed && others.every((other) => other.record.existed);
    entered = { ...record, former, existed };
    await writeProxyRecord(options.folder, { ...entered, ready: false });
  });
  if (entered !== undefined) await writeProxyRecord(options.folder, entered);
}

/** Takes a proxy's entries out again. Another proxy for the same cluster gets them back, else the former context. */
export async function leaveKubeconfig(path: string, options: ShareOptions & { readonly keep: boolean }): Promise<void> {
  const own = (await listProxies(options.parent)).find(({ folder }) => folder === options.folder);
  if (own === undefined) return;
  await changeKubeconfig(path, { signal: options.signal, removeEmpty: !own.record.existed }, async (document) => {
    await rm(join(options.folder, "proxy.json"), { force: true });
    if (options.keep) return;
    const heirs = await running(await sharing(path, options), options);
    retire(document, own.record, heirs, await keptIn(path, options));
  });
}

/**
 * Cleans up after proxies that were killed, in every kubeconfig they used.
 *
 * @returns why a kubeconfig could not be changed, for each. Its proxy is tried again next time; the others are not kept
 *   waiting.
 */
export async function repairKubeconfigs(
  parent: string,
  options: { readonly signal: AbortSignal },
): Promise<readonly ConnectError[]> {
  const failures: ConnectError[] = [];
  for (const dead of (await listProxies(parent)).filter(({ liveness }) => liveness === "gone")) {
    try {
      await repairOne(dead, parent, options);
    } catch (error) {
      options.signal.throwIfAborted();
      failures.push(toConnectError(error));
    }
  }
  return failures;
}

async function repairOne(dead: KnownProxy, parent: string, options: { readonly signal: AbortSignal }): Promise<void> {
  const { kubeconfig, existed } = dead.record;
  // A file that is gone, with its folder or without, holds nothing to take out.
  if (kubeconfig === null || (await readKubeconfig(kubeconfig)) === undefined) {
    await rm(dead.folder, { recursive: true, force: true });
    return;
  }
  await changeKubeconfig(kubeconfig, { ...options, removeEmpty: !existed }, async (document) => {
    const others = await sharing(kubeconfig, { parent, folder: dead.folder });
    retire(document, dead.record, await running(others, options), await keptIn(kubeconfig, { parent }));
    await rm(dead.folder, { recursive: true, force: true });
  });
}

/** Records of those that run. */
async function running(
  proxies: readonly KnownProxy[],
  options: { readonly signal: AbortSignal },
): Promise<readonly ProxyRecord[]> {
  const runs = await Promise.all(proxies.map(async (proxy) => await isRunning(proxy, options)));
  return proxies.filter((_, index) => runs[index] === true).map(({ record }) => record);
}

async function sharing(path: string, options: Pick<ShareOptions, "parent" | "folder">): Promise<readonly KnownProxy[]> {
  const all = await listProxies(options.parent);
  return all.filter(({ folder, record }) => folder !== options.folder && record.kubeconfig === path);
}

/** Entries that `kubeconfig add` made in this file. */
async function keptIn(path: string, { parent }: Pick<ShareOptions, "parent">): Promise<readonly KubeconfigEntry[]> {
  const kept = await readKeptEntries({ state: dirname(parent) }).catch(() => []);
  return kept.filter(({ kubeconfig }) => kubeconfig === path).map(({ entry }) => entry);
}

function retire(
  document: KubeconfigDocument,
  record: ProxyRecord,
  heirs: readonly ProxyRecord[],
  kept: readonly KubeconfigEntry[],
): void {
  const wasCurrent = record.entries.some(({ context }) => context === document.currentContext);
  // Entries that lead to another port belong to their last writer.
  const own = record.entries.filter((entry) => document.portOf(entry.name) === entry.port);
  const given = own.flatMap(({ name }) =>
    [...kept, ...heirs.flatMap(({ entries }) => entries)].filter((entry) => entry.name === name),
  );
  // Entries that are given on are replaced, not removed: a namespace that a person chose stays.
  const gone = own.map(({ name }) => name).filter((name) => !given.some((entry) => entry.name === name));
  document.remove(gone, record.former ?? undefined);
  const current = document.currentContext;
  const next = heirs.at(-1)?.entries[0]?.context;
  if (given.length > 0) document.add(given);
  if (wasCurrent && next !== undefined) document.use(next);
  else if (given.length > 0) document.use(wasCurrent && hasFormer(document, record) ? (record.former ?? "") : current);
}

function hasFormer(document: KubeconfigDocument, { former }: ProxyRecord): boolean {
  return former !== null && document.hasContext(former);
}

/** The context of before all proxies that are now in the file. */
function formerContext(document: KubeconfigDocument, others: readonly KnownProxy[]): string | null {
  const current = document.currentContext;
  const owner = others.find(({ record }) => record.entries.some(({ context }) => context === current));
  return owner === undefined ? (current ?? null) : owner.record.former;
}
