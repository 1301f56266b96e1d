import { rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { KubeconfigDocument } from "../kubeconfig/document.ts";
import type { KubeconfigEntry } from "../kubeconfig/entry.ts";
import { changeKubeconfig } from "../kubeconfig/file.ts";
import { readKeptEntries } from "../kubeconfig/kept-entries.ts";
import type { ProxyRecord } from "./record.ts";
import { type KnownProxy, listProxies, writeProxyRecord } from "./running.ts";

/** What a proxy says about itself before it is in a kubeconfig. */
export type NewRecord = Omit<ProxyRecord, "former">;

export interface ShareOptions {
  readonly signal: AbortSignal;
  /** Folder of all proxies. */
  readonly parent: string;
  /** This proxy's own, inside of it. */
  readonly folder: string;
}

/**
 * Adds a proxy's entries to its kubeconfig and writes its record, both under the kubeconfig's lock; what proxies that
 * were killed left in that file goes first.
 *
 * @throws ConnectError as `changeKubeconfig`; nothing was changed then.
 */
export async function enterKubeconfig(path: string, record: NewRecord, options: ShareOptions): Promise<void> {
  await changeKubeconfig(path, options, async (document) => {
    const others = await sharing(path, options);
    const kept = await keptIn(path, options);
    for (const dead of others.filter(({ alive }) => !alive)) {
      retire(document, dead.record, others, kept);
      await rm(dead.folder, { recursive: true, force: true });
    }
    const former = formerContext(document, others);
    document.add(record.entries);
    // Whoever came first knows whether the file was there before all of them.
    const existed = record.existed && others.every((other) => other.record.existed);
    await writeProxyRecord(options.folder, { ...record, former, existed });
  });
}

/** Takes a proxy's entries out again. Another proxy for the same cluster gets them back, else the former context. */
export async function leaveKubeconfig(path: string, options: ShareOptions & { readonly keep: boolean }): Promise<void> {
  const own = (await listProxies(options.parent)).find(({ folder }) => folder === options.folder);
  if (own === undefined) return;
  await changeKubeconfig(path, { signal: options.signal, removeEmpty: !own.record.existed }, async (document) => {
    await rm(join(options.folder, "proxy.json"), { force: true });
    if (options.keep) return;
    retire(document, own.record, await sharing(path, options), await keptIn(path, options));
  });
}

/** Cleans up after proxies that were killed, in every kubeconfig they used. */
export async function repairKubeconfigs(parent: string, options: { readonly signal: AbortSignal }): Promise<void> {
  for (const dead of (await listProxies(parent)).filter(({ alive }) => !alive)) {
    const { kubeconfig, existed } = dead.record;
    if (kubeconfig === null) {
      await rm(dead.folder, { recursive: true, force: true });
      continue;
    }
    await changeKubeconfig(kubeconfig, { ...options, removeEmpty: !existed }, async (document) => {
      const others = await sharing(kubeconfig, { parent, folder: dead.folder });
      retire(document, dead.record, others, await keptIn(kubeconfig, { parent }));
      await rm(dead.folder, { recursive: true, force: true });
    });
  }
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
  others: readonly KnownProxy[],
  kept: readonly KubeconfigEntry[],
): void {
  const wasCurrent = record.entries.some(({ context }) => context === document.currentContext);
  const heirs = others.filter(({ alive }) => alive).map((other) => other.record);
  // Entries that lead to another port belong to whoever wrote them last.
  const own = record.entries.filter((entry) => document.portOf(entry.name) === entry.port);
  const given = own.flatMap(({ name }) =>
    [...kept, ...heirs.flatMap(({ entries }) => entries)].filter((entry) => entry.name === name),
  );
  // What is given on is replaced, not removed: a namespace that a person chose stays.
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
