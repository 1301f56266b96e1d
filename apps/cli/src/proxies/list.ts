import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { CliDeps } from "../deps.ts";
import { writePrivateFile } from "../files/private-file.ts";
import { type Liveness, livenessOf, type ProcessId, parseProcessId } from "../files/process-id.ts";
import { readTextFileIfAny } from "../files/text-file.ts";
import { hasProof } from "../proxy/proof.ts";
import { foldersOf } from "../settings/folders.ts";
import { formatProxyRecord, type ProxyRecord, parseProxyRecord } from "./record.ts";

/** A proxy's folder with its record. */
export interface KnownProxy {
  readonly folder: string;
  readonly record: ProxyRecord;
  readonly process: ProcessId;
  /** Whether the process that wrote the record runs, as far as it can be told here. */
  readonly liveness: Liveness;
}

/** An unusable record: of another version, cut, or not this user's to read. */
export interface UnreadableProxy {
  readonly folder: string;
}

/** The content of a folder of proxies. */
export interface ProxyRecords {
  /** The oldest first. */
  readonly proxies: readonly KnownProxy[];
  readonly unreadable: readonly UnreadableProxy[];
}

const NAME = "proxy.json";

/** The folder with a folder for each proxy. */
export function proxiesFolder(deps: Pick<CliDeps, "env" | "homeDir">): string {
  return join(foldersOf(deps).state, "proxies");
}

export async function writeProxyRecord(folder: string, record: ProxyRecord): Promise<void> {
  await writePrivateFile(join(folder, NAME), formatProxyRecord(record));
}

/** Whether a folder has something to clean up after. */
export async function hasProxyRecord(folder: string): Promise<boolean> {
  return (await readProxy(folder)) !== undefined;
}

/** Every proxy of this user. */
export async function readProxyRecords(parent: string): Promise<ProxyRecords> {
  const names = await readdir(parent).catch(() => []);
  const all = await Promise.all(names.map(async (name) => await readProxy(join(parent, name))));
  const found = all.filter((one) => one !== undefined);
  const proxies = found.filter((one) => "record" in one);
  return {
    proxies: proxies.sort((a, b) => a.record.startedAt.localeCompare(b.record.startedAt)),
    unreadable: found.filter((one) => !("record" in one)),
  };
}

/** The same, without unusable records. */
export async function listProxies(parent: string): Promise<readonly KnownProxy[]> {
  return (await readProxyRecords(parent)).proxies;
}

/** Undefined for a folder without a record: its proxy is not open yet, or has ended. */
async function readProxy(folder: string): Promise<KnownProxy | UnreadableProxy | undefined> {
  try {
    const text = await readTextFileIfAny(join(folder, NAME));
    if (text === undefined) return undefined;
    const record = parseProxyRecord(text);
    const process = record === undefined ? undefined : parseProcessId(record.process);
    if (record === undefined || process === undefined) return { folder };
    return { folder, record, process, liveness: livenessOf(process) };
  } catch {
    return { folder };
  }
}

/**
 * Whether a proxy runs on this machine: by its process, or by the proof of its port where the process cannot be told.
 */
export async function isRunning(
  { liveness, record }: KnownProxy,
  options: { readonly signal: AbortSignal },
): Promise<boolean> {
  if (liveness === "unknown") return await hasProof(record.port, record.proofSecret, options);
  return liveness === "alive";
}
