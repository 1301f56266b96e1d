import { setTimeout as delay } from "node:timers/promises";
import { ConnectError } from "@cluster-connect/protocol";
import { livenessOf } from "../../files/process-id.ts";
import { type KnownProxy, proxiesFolder } from "../../proxies/list.ts";
import { chooseProxies, describeSkipped } from "../../proxies/select.ts";
import type { CommandContext } from "../context.ts";

export interface StopFlags {
  readonly name?: readonly string[];
  readonly all?: boolean;
}

const PATIENCE_MS = 10_000;
const POLL_MS = 20;

/** Ends running proxies and waits until their contexts are out of the kubeconfig. */
export async function stopProxies(flags: StopFlags, { deps, signal }: CommandContext): Promise<void> {
  const chosen = await chooseProxies(proxiesFolder(deps), flags.name, { all: flags.all === true, signal });
  for (const proxy of chosen) {
    await endProxy(proxy, signal);
    deps.stderr.write(`Ended the proxy to ${proxy.record.clusters.join(", ")} (process ${proxy.process.pid}).\n`);
  }
  for (const line of await describeSkipped(proxiesFolder(deps), { signal })) deps.stderr.write(`warning: ${line}\n`);
  if (chosen.length === 0) deps.stderr.write("No proxy is running.\n");
}

/**
 * Asks a proxy to end, and waits until it has.
 *
 * @throws ConnectError `CC_USAGE` for a process that cannot be told apart from others: it gets no signal.
 */
export async function endProxy({ process: owner, record }: KnownProxy, signal: AbortSignal): Promise<void> {
  const liveness = livenessOf(owner);
  if (liveness === "gone") return;
  if (liveness === "unknown") {
    throw new ConnectError("CC_USAGE", `The proxy to ${record.clusters.join(", ")} runs in another container`, {
      hint: `End it there, as process ${owner.pid}: here that number is another program's.`,
    });
  }
  try {
    process.kill(owner.pid, "SIGTERM");
  } catch {
    // It ended by itself just now.
    return;
  }
  const until = performance.now() + PATIENCE_MS;
  while (livenessOf(owner) === "alive") {
    if (performance.now() > until) {
      throw new ConnectError("CC_TIMEOUT", `The proxy to ${record.clusters.join(", ")} does not end`, {
        hint: `End it with \`kill -9 ${owner.pid}\`; the next command cleans up after it.`,
      });
    }
    await delay(POLL_MS, undefined, { signal });
  }
}
