import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import type { CliDeps } from "../deps.ts";
import { writePrivateFile } from "../files/private-file.ts";
import { type TarFile, tarArchive } from "../files/tar.ts";
import { readTextFileIfAny } from "../files/text-file.ts";
import { type KnownProxy, listProxies, proxiesFolder } from "../proxies/list.ts";
import { foldersOf } from "../settings/folders.ts";
import { redact } from "./redact.ts";

const MAX_LOGS = 5;
const MAX_LOG_LINES = 200;

/** Variables whose values say how the network is set up; of the others only the names are kept. */
const SHOWN = /^(https?_proxy|all_proxy|no_proxy|node_extra_ca_certs|cluster_connect_(relay|ca_file))$/i;
const NAMED = /^(cluster_connect_|xdg_|kube|actions_|system_|ssl_cert|node_)/i;

/**
 * Writes an archive for the person who helps: the report, versions, settings, proxies and the last lines of their logs.
 * Every file of it goes through {@link redact}.
 *
 * @returns the names of the files in it.
 */
export async function writeBundle(path: string, report: string, deps: CliDeps): Promise<readonly string[]> {
  const folders = foldersOf(deps);
  const files: readonly TarFile[] = [
    { name: "report.json", text: report },
    { name: "environment.txt", text: environment(deps) },
    {
      name: "config.yaml",
      text: (await readTextFileIfAny(join(folders.config, "config.yaml")).catch(unreadable)) ?? "",
    },
    { name: "proxies.json", text: await listedProxies(deps) },
    ...(await lastLogs(join(folders.state, "logs"))),
  ];
  const redacted = files.map(({ name, text }) => ({ name: `cluster-connect/${name}`, text: redact(text) }));
  await writePrivateFile(path, gzipSync(tarArchive(redacted, deps.now() / 1_000)));
  return files.map(({ name }) => name);
}

function environment({ env, platform }: CliDeps): string {
  const lines = Object.entries(env)
    .filter(([name]) => SHOWN.test(name) || NAMED.test(name))
    .map(([name, value]) => (SHOWN.test(name) ? `${name}=${value}` : `${name} is set`));
  return `${[`platform ${platform}-${process.arch}, node ${process.versions.node}`, ...lines.sort()].join("\n")}\n`;
}

async function listedProxies(deps: CliDeps): Promise<string> {
  const shown = (await listProxies(proxiesFolder(deps))).map(({ record, liveness, process: owner }: KnownProxy) => ({
    pid: owner.pid,
    liveness,
    clusters: record.clusters,
    relay: record.relay,
    port: record.port,
    startedAt: record.startedAt,
  }));
  return `${JSON.stringify(shown, undefined, 2)}\n`;
}

/** The last lines of the newest logs. */
async function lastLogs(folder: string): Promise<readonly TarFile[]> {
  const names = (await readdir(folder).catch(() => [])).filter((name) => /^[\w.-]{1,60}\.log$/.test(name)).sort();
  const files: TarFile[] = [];
  for (const name of names.slice(-MAX_LOGS)) {
    const text = (await readTextFileIfAny(join(folder, name)).catch(unreadable)) ?? "";
    files.push({ name: `logs/${name}`, text: text.split("\n").slice(-MAX_LOG_LINES).join("\n") });
  }
  return files;
}

function unreadable(error: unknown): string {
  return `unreadable: ${error instanceof Error ? error.message : ""}\n`;
}
