import { type Clock, wait } from "@cluster-connect/base";
import type { Session, SessionBudgets, SessionDeps } from "@cluster-connect/framing";
import type { Environment, Logger } from "@cluster-connect/service";
import type { AgentConfig } from "../config.ts";
import { readAuthorities, readClusterUid } from "../identity/authorities.ts";
import type { Identity } from "../identity/state-folder.ts";
import type { AgentInstance } from "../instance/instance.ts";
import type { Dispatch } from "../streams/dispatch.ts";
import { createClusterUidWatch } from "./cluster-uid-watch.ts";
import { createRelaySpread } from "./relay-spread.ts";
import { createTunnelStatus, type TunnelStatus } from "./status.ts";
import { runTunnel } from "./tunnel.ts";

/** The tunnels that an agent keeps with one key. */
export interface TunnelSet {
  readonly identity: Identity;
  /** One for each name of `relay.urls`, in their order. */
  readonly statuses: readonly TunnelStatus[];
  /** Settles when every tunnel has ended for good: after {@link stop}, or {@link drain}. */
  readonly done: Promise<void>;
  /** No tunnel is dialed again; GOAWAY to each relay. Resolves when every stream has ended, or at the deadline. */
  drain(options: { readonly deadlineMs: number; readonly signal: AbortSignal }): Promise<void>;
  /** Ends everything now. */
  stop(): void;
}

export interface TunnelSetDeps {
  readonly instance: Pick<AgentInstance, "instanceId" | "follows">;
  readonly software: string;
  /** PEM to trust for relays instead of the system's authorities. */
  readonly ca: string | undefined;
  readonly env: Environment;
  readonly dispatch: Dispatch;
  /** A relay takes no tunnel by this key. */
  readonly onKeyRefused: (identity: Identity) => void;
  /** Whether streams wait for their openers. */
  readonly atStake: () => boolean;
  /** Memory of the process for the bytes of streams. */
  readonly budgets: SessionBudgets;
  readonly log: Logger;
  readonly clock: Clock;
  /** A number from 0 to below 1. */
  readonly random: () => number;
  readonly sessionDeps: SessionDeps;
}

/** All agents hear of a new relay at once, and dial it within this time. */
const SPREAD_MS = 3_000;

/** Keeps `relay.tunnels` tunnels to relays under each name. */
export function createTunnelSet(
  config: Pick<AgentConfig, "relay" | "authProxy">,
  identity: Identity,
  deps: TunnelSetDeps,
): TunnelSet {
  const { ca, instance, software, dispatch, atStake, budgets, log, sessionDeps, env, clock, random } = deps;
  const onKeyRefused = (): void => deps.onKeyRefused(identity);
  const stopped = new AbortController();
  const draining = new AbortController();
  const authorities = (): Promise<string | undefined> => readAuthorities(config.authProxy.authoritiesFile);
  const clusterUid = createClusterUidWatch({
    read: () => readClusterUid(config.authProxy.authoritiesFile),
    log,
    clock,
  });
  const statuses = config.relay.urls.map((relay) => createTunnelStatus(relay));
  const running = config.relay.urls.flatMap((relay, index) => {
    const status = statuses[index] ?? createTunnelStatus(relay);
    const relaySpread = createRelaySpread({
      now: clock.now,
      spread: (poll) => {
        wait(random() * SPREAD_MS, { signal: draining.signal }, { clock }).then(poll, () => undefined);
      },
      onUnspread: (liveRelays) => {
        const fields = { event: "tunnel.unspread", relay: relay.host, liveRelays };
        log.warn(
          fields,
          "every dial leads to the same relay: the balancer before them has to spread one address's dials",
        );
      },
    });
    const options = { relay, ca, instance, software, identity, draining: draining.signal, signal: stopped.signal };
    const tunnelDeps = {
      dispatch,
      status,
      relaySpread,
      log,
      sessionDeps,
      env,
      authorities,
      clusterUid,
      onKeyRefused,
      atStake,
      budgets,
    };
    return Array.from({ length: config.relay.tunnels }, () => runTunnel(options, tunnelDeps));
  });
  const sessions = (): readonly Session[] => statuses.flatMap((status) => status.sessions());
  return {
    identity,
    statuses,
    done: Promise.all([...running, clusterUid.run({ signal: draining.signal })]).then(() => undefined),
    async drain(options) {
      draining.abort();
      await Promise.all(sessions().map((session) => session.drain(options)));
      stopped.abort();
    },
    stop() {
      draining.abort();
      stopped.abort();
    },
  };
}
