import { describeMended, mendKeptEntries } from "../../kubeconfig/mend-kept.ts";
import { repairKubeconfigs } from "../../proxies/kubeconfig-share.ts";
import { proxiesFolder } from "../../proxies/list.ts";
import { describeSkipped, runningProxies } from "../../proxies/select.ts";
import { formatAge, type OutputFormat, writeListing } from "../../terminal/listing.ts";
import { openTokenCache } from "../../tokens/choose-tokens.ts";
import { describeKept } from "../../tokens/vault/kept-how.ts";
import type { CommandContext } from "../context.ts";

export interface StatusFlags {
  readonly output: OutputFormat;
}

/** Lists this user's running proxies, and cleans up after those that were killed. */
export async function showStatus(flags: StatusFlags, { deps, signal }: CommandContext): Promise<void> {
  const parent = proxiesFolder(deps);
  const failures = await repairKubeconfigs(parent, { signal });
  const items = (await runningProxies(parent, { signal })).map(({ record, process }) => ({
    pid: process.pid,
    clusters: record.clusters,
    relay: record.relay,
    port: record.port,
    contexts: record.entries.map(({ context }) => context),
    kubeconfig: record.kubeconfig,
    startedAt: record.startedAt,
    log: record.log,
  }));
  for (const one of await mendKeptEntries({ signal }, deps)) deps.stderr.write(`${describeMended(one)}\n`);
  await writeListing(
    {
      key: "proxies",
      items,
      nameOf: ({ clusters }) => clusters.join(","),
      none: "No proxy is running. `cluster-connect proxy -n NAME --detach` starts one.",
      columns: [
        { title: "CLUSTERS", text: ({ clusters }) => clusters.join(",") },
        { title: "PORT", text: ({ port }) => String(port) },
        { title: "PID", text: ({ pid }) => String(pid) },
        { title: "AGE", text: ({ startedAt }) => formatAge((deps.now() - Date.parse(startedAt)) / 1_000) },
        { title: "CONTEXTS", text: ({ contexts }) => contexts.join(",") },
        { title: "KUBECONFIG", text: ({ kubeconfig }) => kubeconfig ?? "-" },
        { title: "RELAY", text: ({ relay }) => relay },
      ],
    },
    flags.output,
    deps,
  );
  for (const { message } of failures) {
    deps.stderr.write(`warning: a proxy that was killed is still in a kubeconfig: ${message}\n`);
  }
  for (const line of await describeSkipped(parent, { signal })) deps.stderr.write(`warning: ${line}\n`);
  if (flags.output !== "table") return;
  for (const kept of await openTokenCache(deps).howKept()) {
    deps.stderr.write(`A login is kept in ${describeKept(kept)}.\n`);
  }
}
