import { signChallenge } from "@cluster-connect/auth";
import { onAbort } from "@cluster-connect/base";
import { dialSession, type Session, type SessionBudgets, type SessionDeps, supervise } from "@cluster-connect/framing";
import { dialWebSocket, type ProxyEnvironment, proxyFor } from "@cluster-connect/framing/ws";
import {
  type AgentProof,
  agentChallengeInput,
  type ClusterUid,
  ConnectError,
  type Hello,
} from "@cluster-connect/protocol";
import { errorFields, type Logger } from "@cluster-connect/service";
import type { Identity } from "../identity/state-folder.ts";
import type { AgentInstance } from "../instance/instance.ts";
import type { Dispatch } from "../streams/dispatch.ts";
import type { ClusterUidWatch } from "./cluster-uid-watch.ts";
import type { RelaySpread } from "./relay-spread.ts";
import type { TunnelStatus } from "./status.ts";

export interface TunnelOptions {
  readonly relay: URL;
  /** PEM to trust instead of the system's authorities. */
  readonly ca: string | undefined;
  readonly instance: Pick<AgentInstance, "instanceId" | "follows">;
  readonly software: string;
  readonly identity: Identity;
  /** Aborted when the tunnel is not dialed again once it has ended. */
  readonly draining: AbortSignal;
  /** Ends the tunnel at once. */
  readonly signal: AbortSignal;
}

export interface TunnelDeps {
  readonly dispatch: Dispatch;
  /** The authorities that the auth proxy publishes by now. */
  readonly authorities: () => Promise<string | undefined>;
  /** The cluster's UID, and the tunnels that it was told in. */
  readonly clusterUid: ClusterUidWatch;
  readonly status: TunnelStatus;
  readonly relaySpread: RelaySpread;
  /** The relay takes no tunnel by this agent's key. */
  readonly onKeyRefused: () => void;
  /** Whether streams wait for their openers: their tunnels are then dialed at least once a second. */
  readonly atStake: () => boolean;
  /** Memory of the process for the bytes of streams. */
  readonly budgets: SessionBudgets;
  readonly env: ProxyEnvironment;
  readonly log: Logger;
  readonly sessionDeps: SessionDeps;
}

/** Less than the relay gives a channel that proves nothing. */
const SPARE_MS = 8_000;
const LEFT_TEXT = "The agent has a tunnel to this relay already";
/** A relay that is back gets its agents back within seconds, well within the grace time of their streams. */
const BACKOFF = { baseDelayMs: 250, maxDelayMs: 10_000 } as const;

/**
 * Keeps a tunnel to one relay up until the signal is aborted; which one of those under the name, the balancer before them
 * decides, but never one that another tunnel leads to.
 *
 * A refused key is tried again too, at the longest wait: an operator may enroll it meanwhile.
 */
export async function runTunnel(options: TunnelOptions, deps: TunnelDeps): Promise<void> {
  const { relay, signal, draining } = options;
  const log = deps.log.child({ relay: relay.host });
  const spares = createSpares(deps);
  try {
    await supervise((dialSignal) => dial(options, deps, spares, dialSignal), {
      signal,
      backoff: BACKOFF,
      atStake: deps.atStake,
      retry: () => !draining.aborted,
      onWake: (wake, wakeSignal) => deps.relaySpread.onPoll(wake, wakeSignal),
      onReady: (session) => {
        deps.status.up(session);
        deps.relaySpread.opened(session);
        log.info({ event: "tunnel.open", relayInstanceId: session.peer?.instanceId }, "tunnel open");
      },
      onEnd: (error, delayMs) => {
        deps.status.down(error);
        const fields = { event: "tunnel.closed", delayMs: Math.round(delayMs), ...errorFields(error) };
        if (error.code === "CC_CANCELLED") {
          log.debug({ ...fields, event: "tunnel.spare" }, "no other relay reached, looking again later");
          return;
        }
        log.warn({ ...fields, hint: error.hint }, "tunnel closed, dialing again");
        if (error.code === "CC_AGENT_KEY_REFUSED") deps.onKeyRefused();
      },
    });
  } catch (error) {
    if (!signal.aborted && !draining.aborted) throw error;
  } finally {
    spares.leave();
  }
}

/**
 * Dials until a relay is reached that there is no tunnel to, or {@link RelaySpread} says that it is enough for now.
 *
 * @param spares channels to the others, which stay open for a while: for a balancer that goes by load they count.
 */
async function dial(options: TunnelOptions, deps: TunnelDeps, spares: Spares, stop: AbortSignal): Promise<Session> {
  const { relaySpread } = deps;
  const signal = AbortSignal.any([stop, options.draining]);
  for (;;) {
    const { session, claimed } = await dialOnce(options, deps, signal);
    // Where another one was found the spares go by their time, so that other agents find it too.
    if (claimed) return session;
    spares.add(session);
    if (!relaySpread.lacking) spares.leave();
    relaySpread.missed(spares.size);
  }
}

/** Channels to relays that there is a tunnel to, without a proof. */
interface Spares {
  readonly size: number;
  add(session: Session): void;
  leave(): void;
}

function createSpares({ sessionDeps: { clock } }: Pick<TunnelDeps, "sessionDeps">): Spares {
  const sessions = new Set<Session>();
  const close = (session: Session): void => session.close("CC_CANCELLED", LEFT_TEXT);
  return {
    get size() {
      return sessions.size;
    },
    add(session) {
      sessions.add(session);
      const timer = clock.setTimer(SPARE_MS, () => close(session));
      void session.closed.then(() => {
        timer.cancel();
        sessions.delete(session);
      });
    },
    leave() {
      for (const session of sessions) close(session);
    },
  };
}

/** Dials up to the relay's HELLO: whether its tunnel was there to be claimed; one that was not is left unproved. */
async function dialOnce(
  options: TunnelOptions,
  deps: TunnelDeps,
  signal: AbortSignal,
): Promise<{ readonly session: Session; readonly claimed: boolean }> {
  const { relay, ca, instance, software } = options;
  const { relaySpread } = deps;
  const tls = ca === undefined ? {} : { tls: { ca } };
  const channel = await dialWebSocket(new URL("/v1/agent", relay), {
    signal,
    proxy: proxyFor(relay, deps.env),
    ...tls,
  });
  const heard = Promise.withResolvers<boolean>();
  const session: Session = dialSession(
    channel,
    {
      role: "agent",
      instanceId: instance.instanceId,
      software,
      prove: async (hello) => {
        const claimed = relaySpread.claim(hello.instanceId, hello.liveRelays ?? 1, session);
        heard.resolve(claimed);
        if (!claimed) {
          await session.closed;
          throw new ConnectError("CC_CANCELLED", LEFT_TEXT);
        }
        return prove(hello, options, await deps.authorities(), await deps.clusterUid.tell(session));
      },
      onRelays: (liveRelays) => relaySpread.live(liveRelays),
      onStream: deps.dispatch,
      budgets: deps.budgets,
    },
    deps.sessionDeps,
  );
  deps.status.dialed(session);
  session.ready.catch(heard.reject);
  void session.draining.then(() => relaySpread.release(session));
  const leave = onAbort(signal, () => session.close());
  try {
    return { session, claimed: await heard.promise };
  } finally {
    leave();
  }
}

function prove(
  hello: Hello,
  options: TunnelOptions,
  clusterAuthorities: string | undefined,
  clusterUid: ClusterUid | undefined,
): AgentProof {
  const { identity, instance, relay } = options;
  const { instanceId: agentInstanceId, follows } = instance;
  const { clusterId, key } = identity;
  if (hello.role !== "relay" || hello.challenge === undefined) {
    throw new ConnectError("CC_PROTOCOL", `${relay.host} is no relay: its hello holds no challenge`);
  }
  const authority = relay.host;
  const { challenge, instanceId: relayInstanceId } = hello;
  const input = agentChallengeInput({ challenge, relayInstanceId, agentInstanceId, clusterId, authority });
  return {
    clusterId,
    keyId: key.keyId,
    authority,
    signature: signChallenge(key, input),
    ...(clusterAuthorities === undefined ? {} : { clusterAuthorities }),
    ...(clusterUid === undefined ? {} : { clusterUid }),
    ...(follows.length === 0 ? {} : { follows }),
  };
}
