import { readKubeconfig } from "../../kubeconfig/file.ts";
import { readKeptEntries } from "../../kubeconfig/kept-entries.ts";
import { describeMended, mendKeptEntries } from "../../kubeconfig/mend-kept.ts";
import { missingProgram } from "../../platform/launcher.ts";
import { findServingProxy } from "../../proxies/ensure-running.ts";
import { foldersOf } from "../../settings/folders.ts";
import { type OutputFormat, writeListing } from "../../terminal/listing.ts";
import type { CommandContext } from "../context.ts";

export interface KubeconfigListFlags {
  readonly output: OutputFormat;
}

/** Lists the entries that were added, and whether a proxy runs behind each. */
export async function listKubeconfig(flags: KubeconfigListFlags, { deps, signal }: CommandContext): Promise<void> {
  for (const one of await mendKeptEntries({ signal }, deps)) deps.stderr.write(`${describeMended(one)}\n`);
  const items: Item[] = [];
  for (const one of await readKeptEntries(foldersOf(deps))) {
    const { entry, kubeconfig, cluster, relay } = one;
    const port = (await readKubeconfig(kubeconfig).catch(() => undefined))?.portOf(entry.name);
    const proxy = await findServingProxy({ ...one, port: entry.port }, { signal }, deps);
    const isBroken = missingProgram(entry.credential) !== undefined;
    const state = isBroken ? "broken" : stateOf(port, entry.port, proxy !== undefined);
    items.push({ context: entry.context, cluster, relay, port: entry.port, state, kubeconfig });
  }
  await writeListing(
    {
      key: "entries",
      items,
      nameOf: ({ context }) => context,
      none: "There is no entry. `cluster-connect kubeconfig add -n NAME` makes one.",
      columns: [
        { title: "CONTEXT", text: ({ context }) => context },
        { title: "CLUSTER", text: ({ cluster }) => cluster },
        { title: "PORT", text: ({ port }) => String(port) },
        { title: "STATE", text: ({ state }) => state },
        { title: "KUBECONFIG", text: ({ kubeconfig }) => kubeconfig },
        { title: "RELAY", text: ({ relay }) => relay },
      ],
    },
    flags.output,
    deps,
  );
}

type Item = Readonly<Record<"context" | "cluster" | "relay" | "state" | "kubeconfig", string>> & {
  readonly port: number;
};

/** An entry may be gone from its file, or lead to a proxy that was started there meanwhile by other means. */
function stateOf(port: number | undefined, own: number, isServed: boolean): string {
  if (port === undefined) return "missing";
  if (port !== own) return "replaced";
  return isServed ? "running" : "asleep";
}
