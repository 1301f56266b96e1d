import { type Clock, repeat } from "@cluster-connect/base";
import { errorFields, type Logger } from "@cluster-connect/service";
import { findRevoked } from "../store/queries/agent-keys.ts";
import { dropAbandonedKeys, retireReplacedKeys } from "../store/queries/key-rotation.ts";
import type { Store } from "../store/store.ts";
import { closeOtherClusters } from "./cluster-uid.ts";
import type { Registry } from "./tunnels.ts";

const INTERVAL_MS = 2_000;

/**
 * Revokes keys that were replaced or abandoned, until the signal is aborted. Closes the tunnels of revoked keys, and
 * those to clusters that lost their name, also where another process decided that.
 */
export async function watchRevocations(
  options: { readonly signal: AbortSignal; readonly intervalMs?: number },
  deps: { readonly store: Store; readonly registry: Registry; readonly log: Logger; readonly clock: Clock },
): Promise<void> {
  const { store, registry, log, clock } = deps;
  const check = async (): Promise<void> => {
    try {
      const tunnels = registry.tunnels();
      for (const keyId of await dropAbandonedKeys(store.db, new Date(clock.now()))) {
        log.warn({ event: "agent.key.abandoned", keyId }, "a key that a rotation let in was never used and is dropped");
      }
      for (const keyId of await retireReplacedKeys(store.db, new Date(clock.now()))) {
        log.info({ event: "agent.key.retired", keyId }, "a key that was replaced is revoked");
      }
      const revoked = await findRevoked(store.db, [...new Set(tunnels.map(({ keyId }) => keyId))]);
      for (const { keyId, clusterId, session } of tunnels.filter((tunnel) => revoked.has(tunnel.keyId))) {
        log.warn({ event: "tunnel.revoked", clusterId, keyId }, "tunnel closed: its key was revoked");
        session.close("CC_AGENT_KEY_REFUSED", "The agent's key was revoked");
      }
      await closeOtherClusters(tunnels, deps);
    } catch (error) {
      log.error({ event: "revocation.failed", ...errorFields(error) }, "revoked keys could not be looked up");
    }
  };
  await repeat(check, { intervalMs: options.intervalMs ?? INTERVAL_MS, signal: options.signal }, { clock });
}
