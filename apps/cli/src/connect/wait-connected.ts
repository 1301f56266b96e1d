import { setTimeout as delay } from "node:timers/promises";
import { ConnectError, ERRORS, toConnectError } from "@cluster-connect/protocol";

/** How a relay sees a cluster. */
export interface SeenCluster {
  readonly status: string;
  readonly reason: string | null;
}

const POLL_MS = 1_000;

/**
 * Waits until the relay's probe has come through agent and auth proxy to the kube-apiserver and back.
 *
 * @param poll asks the relay; undefined when it does not know the cluster.
 * @throws ConnectError `CC_AGENT_OFFLINE` with the hop that is missing.
 */
export async function waitConnected(
  cluster: string,
  options: { readonly timeoutSeconds: number; readonly signal: AbortSignal },
  poll: () => Promise<SeenCluster | undefined>,
): Promise<string> {
  const deadline = AbortSignal.timeout(options.timeoutSeconds * 1_000);
  let last = "the relay has not seen it";
  while (!deadline.aborted) {
    try {
      const found = await poll();
      if (found?.status.toLowerCase() === "connected") return found.status;
      if (found !== undefined) last = `${found.status}${found.reason === null ? "" : `, ${found.reason}`}`;
    } catch (error) {
      const known = toConnectError(error);
      if (!ERRORS[known.code].retry) throw known;
      last = known.message;
    }
    await delay(POLL_MS, undefined, { signal: options.signal });
  }
  throw new ConnectError("CC_AGENT_OFFLINE", `${cluster} is installed, but not connected: ${last}`);
}
