import { type Clock, repeat, wait } from "@cluster-connect/base";
import { errorFields, type Logger } from "@cluster-connect/service";
import type { TunnelSet } from "../tunnels/tunnel-set.ts";
import { type Identity, readIdentity } from "./state-folder.ts";

export interface KeyWatchOptions {
  readonly stateDir: string;
  readonly signal: AbortSignal;
  readonly intervalMs?: number;
  /** How long streams of a former key's tunnels may go on. */
  readonly drainMs: number;
}

const INTERVAL_MS = 5_000;
const OPEN_TIMEOUT_MS = 60_000;
const LOOK_MS = 100;

/**
 * Follows the key in the state folder: when another one is there, by `rotate` or because the folder's Secret changed,
 * tunnels by the new key are opened first, then those by the former one drain.
 *
 * A new key by which no tunnel opens is left, and the former goes on; it is tried again while it is there.
 */
export async function followKey(
  options: KeyWatchOptions,
  tunnels: { current: TunnelSet; readonly former: Set<TunnelSet> },
  deps: { readonly create: (identity: Identity) => TunnelSet; readonly log: Logger; readonly clock: Clock },
): Promise<void> {
  const { stateDir, signal, drainMs } = options;
  const { log, clock } = deps;
  const look = async (): Promise<void> => {
    const found = await read();
    if (found === undefined || found.key.keyId === tunnels.current.identity.key.keyId) return;
    const fields = { keyId: found.key.keyId, formerKeyId: tunnels.current.identity.key.keyId };
    const next = deps.create(found);
    if (!(await opens(next))) {
      next.stop();
      await next.done;
      if (!signal.aborted) log.error({ event: "key.kept", ...fields }, "no tunnel opens by the new key");
      return;
    }
    const before = tunnels.current;
    tunnels.current = next;
    tunnels.former.add(before);
    log.info({ event: "key.changed", ...fields }, "tunnels by the new key are open");
    const drained = before.drain({ deadlineMs: drainMs, signal }).then(() => before.done);
    void drained.catch(() => undefined).then(() => tunnels.former.delete(before));
  };

  async function read(): Promise<Identity | undefined> {
    try {
      return await readIdentity(stateDir);
    } catch (error) {
      log.error({ event: "key.unreadable", ...errorFields(error) }, "the key in the state folder cannot be read");
      return undefined;
    }
  }

  /** Whether a tunnel opens to each name that has one by the former key. */
  async function opens(next: TunnelSet): Promise<boolean> {
    const until = clock.now() + OPEN_TIMEOUT_MS;
    while (!signal.aborted && clock.now() < until) {
      const isOpen = next.statuses.every(
        (status, index) => status.check().ok || tunnels.current.statuses[index]?.check().ok === false,
      );
      if (isOpen && next.statuses.some((status) => status.check().ok)) return true;
      await wait(LOOK_MS, { signal }, { clock }).catch(() => undefined);
    }
    return false;
  }

  await repeat(look, { intervalMs: options.intervalMs ?? INTERVAL_MS, signal }, { clock });
}
