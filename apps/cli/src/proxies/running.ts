import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { CliDeps } from "../deps.ts";
import { writePrivateFile } from "../files/private-file.ts";
import { mayBeAlive, type ProcessId, parseProcessId } from "../files/process-id.ts";
import { readTextFileIfAny } from "../files/text-file.ts";
import { foldersOf } from "../settings/folders.ts";
import { formatProxyRecord, type ProxyRecord, parseProxyRecord } from "./record.ts";

/** A proxy's folder with what it says about itself. */
export interface KnownProxy {
  readonly folder: string;
  readonly record: ProxyRecord;
  readonly process: ProcessId;
  /** False when it was killed before it could clean up. */
  readonly alive: boolean;
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

/** Every proxy of this user, the oldest first. */
export async function listProxies(parent: string): Promise<readonly KnownProxy[]> {
  const names = await readdir(parent).catch(() => []);
  const found = await Promise.all(names.map((name) => readProxy(join(parent, name))));
  return found
    .filter((proxy) => proxy !== undefined)
    .sort((a, b) => a.record.startedAt.localeCompare(b.record.startedAt));
}

async function readProxy(folder: string): Promise<KnownProxy | undefined> {
  const text = await readTextFileIfAny(join(folder, NAME)).catch(() => undefined);
  const record = text === undefined ? undefined : parseProxyRecord(text);
  const process = record === undefined ? undefined : parseProcessId(record.process);
  if (record === undefined || process === undefined) return undefined;
  return { folder, record, process, alive: mayBeAlive(process) };
}
