import { ConnectError } from "@cluster-connect/protocol";
import { readTextFile } from "../../files/text-file.ts";
import { proxiesFolder } from "../../proxies/list.ts";
import { chooseProxies } from "../../proxies/select.ts";
import type { CommandContext } from "../context.ts";

export interface LogsFlags {
  readonly name?: readonly string[];
}

/** Prints what a proxy in the background has said so far. */
export async function showLogs(flags: LogsFlags, { deps, signal }: CommandContext): Promise<void> {
  const [proxy] = await chooseProxies(proxiesFolder(deps), flags.name, { all: false, signal });
  if (proxy === undefined) {
    throw new ConnectError("CC_CLUSTER_UNKNOWN", "No proxy is running", {
      hint: "Start one with `cluster-connect proxy -n NAME --detach`.",
    });
  }
  const { log, clusters } = proxy.record;
  if (log === null) {
    throw new ConnectError("CC_USAGE", `The proxy to ${clusters.join(", ")} was not started with --detach`, {
      hint: `It writes to the terminal of process ${proxy.process.pid}.`,
    });
  }
  deps.stdout.write(await readTextFile(log));
}
