import { setTimeout as delay } from "node:timers/promises";
import { ConnectError } from "@cluster-connect/protocol";
import { requireNames } from "../../cluster/find.ts";
import { proxiesFolder } from "../../proxies/list.ts";
import { runningProxies } from "../../proxies/select.ts";
import type { CommandContext } from "../context.ts";

export interface WaitFlags {
  readonly name?: readonly string[];
  readonly timeout: number;
}

const POLL_MS = 50;

/** Waits until a proxy to each cluster is ready: its kube-apiserver has answered through every hop. */
export async function wait(flags: WaitFlags, { deps, signal }: CommandContext): Promise<void> {
  const names = requireNames(flags.name);
  const until = performance.now() + flags.timeout * 1_000;
  for (;;) {
    const running = await runningProxies(proxiesFolder(deps), { signal });
    const ready = running.filter(({ record }) => record.ready);
    const missing = names.filter((name) => !ready.some(({ record }) => record.clusters.some((id) => id === name)));
    if (missing.length === 0) return;
    if (performance.now() > until) {
      throw new ConnectError("CC_TIMEOUT", `No proxy to ${missing.join(", ")} is ready after ${flags.timeout} s`, {
        hint: "Look at the screen or log of the proxy that should be: it says which hop is missing.",
      });
    }
    await delay(POLL_MS, undefined, { signal });
  }
}
