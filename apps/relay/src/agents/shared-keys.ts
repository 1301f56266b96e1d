import { type Clock, repeat } from "@cluster-connect/base";
import type { InstanceId, KeyId } from "@cluster-connect/protocol";
import { errorFields, type Logger } from "@cluster-connect/service";
import type { AuditLog } from "../audit/audit-log.ts";
import { findSuperseded, type KeyUser, listKeyUsers, supersedeAgents } from "../store/queries/shared-keys.ts";
import type { Store } from "../store/store.ts";
import type { Registry, Tunnel } from "./tunnels.ts";

/** The policy for too many agents with one key: replicas share one, and so would a thief. */
export interface SharedKeySettings {
  /** How many agents may use one key at once; without it agents are not counted. */
  readonly perKey?: number | undefined;
  /** `alert` tells, `replace` also ends the oldest and takes them no more. */
  readonly policy: "alert" | "replace";
}

export interface SharedKeyDeps {
  readonly store: Store;
  readonly registry: Registry;
  readonly audit: Pick<AuditLog, "record">;
  readonly log: Logger;
  readonly clock: Clock;
}

const INTERVAL_MS = 2_000;

/** Looks at the keys of this relay's tunnels, with their users at all relays, until the signal is aborted. */
export async function watchSharedKeys(
  settings: SharedKeySettings,
  options: { readonly signal: AbortSignal; readonly intervalMs?: number },
  deps: SharedKeyDeps,
): Promise<void> {
  const { perKey, policy } = settings;
  if (perKey === undefined) return;
  const { store, registry, log, clock } = deps;
  const told = new Map<KeyId, string>();

  async function lookAt(keyId: KeyId, tunnels: readonly Tunnel[], limit: number): Promise<void> {
    const users = await listKeyUsers(store, keyId);
    if (users.length <= limit) {
      told.delete(keyId);
      return;
    }
    const names = users.map(({ agentInstanceId }) => agentInstanceId).join(" ");
    if (told.get(keyId) !== names) tell(keyId, users, tunnels);
    told.set(keyId, names);
    if (policy === "alert") return;
    const oldest = users.slice(0, users.length - limit).map(({ agentInstanceId }) => agentInstanceId);
    await supersedeAgents(store.db, keyId, oldest, new Date(clock.now()));
  }

  function tell(keyId: KeyId, users: readonly KeyUser[], tunnels: readonly Tunnel[]): void {
    const agents = users.map(({ agentInstanceId, since, address }) => ({ agentInstanceId, since, address }));
    log.warn({ event: "agent.key.shared", keyId, agents, policy }, "more agents use a key than may");
    // The relay of the newest one writes it down, for all.
    const newest = users.at(-1)?.agentInstanceId;
    const here = tunnels.find(({ instanceId }) => instanceId === newest);
    if (here === undefined) return;
    const { clusterId } = here;
    deps.audit.record({
      event: "agent.key.shared",
      actor: keyId,
      clusterId,
      at: new Date(clock.now()),
      agents,
      policy,
    });
  }

  async function closeSuperseded(keyId: KeyId, tunnels: readonly Tunnel[]): Promise<void> {
    const ids: readonly InstanceId[] = [...new Set(tunnels.map(({ instanceId }) => instanceId))];
    const superseded = await findSuperseded(store.db, keyId, ids);
    for (const { instanceId, session } of tunnels.filter((tunnel) => superseded.has(tunnel.instanceId))) {
      log.warn({ event: "tunnel.superseded", keyId, agentInstanceId: instanceId }, "tunnel closed: a newer agent came");
      session.close("CC_AGENT_KEY_REFUSED", SUPERSEDED_TEXT);
    }
  }

  const check = async (): Promise<void> => {
    try {
      const tunnels = registry.tunnels();
      for (const [keyId, own] of Map.groupBy(tunnels, (tunnel) => tunnel.keyId)) {
        await lookAt(keyId, own, perKey);
        if (policy === "replace") await closeSuperseded(keyId, own);
      }
    } catch (error) {
      log.error({ event: "keys.failed", ...errorFields(error) }, "the users of keys could not be looked up");
    }
  };
  await repeat(check, { intervalMs: options.intervalMs ?? INTERVAL_MS, signal: options.signal }, { clock });
}

/** Text for an agent that had to make way. */
export const SUPERSEDED_TEXT = "Newer agents use the key, and it may not have more";
