import { instanceIdOf } from "@cluster-connect/auth";
import { type Clock, type Release, wait } from "@cluster-connect/base";
import {
  acceptSession,
  type MessageChannel,
  type Session,
  type SessionBudgets,
  type SessionDeps,
  type SessionReady,
} from "@cluster-connect/framing";
import {
  type ClusterId,
  ConnectError,
  type ErrorCode,
  type Hello,
  type InstanceId,
  type KeyId,
  toConnectError,
} from "@cluster-connect/protocol";
import { errorFields, type Logger } from "@cluster-connect/service";
import type { AuditLog } from "../audit/audit-log.ts";
import type { RelayIds } from "../ids.ts";
import type { RelayMetrics } from "../observe/metrics.ts";
import type { ClusterCache } from "../store/caches/cluster-cache.ts";
import type { ValidAgentKey } from "../store/queries/agent-keys.ts";
import { announceAuthorities, findPendingAuthorities } from "../store/queries/clusters.ts";
import { findSuperseded } from "../store/queries/shared-keys.ts";
import type { Store } from "../store/store.ts";
import { verifyAgentProof } from "./agent-proof.ts";
import { isRenewalOf, newFingerprints, parseAuthorities } from "./authorities.ts";
import { refuseOtherCluster } from "./cluster-uid.ts";
import type { LastSeen } from "./last-seen.ts";
import { probeTunnel } from "./probe.ts";
import { SUPERSEDED_TEXT } from "./shared-keys.ts";
import type { Registry, Tunnel } from "./tunnels.ts";

export interface AgentTunnelOptions {
  /** Host and perhaps port of the relay's public name, which agents sign. */
  readonly authority: string;
  /** The agent's address, as far as it is known. */
  readonly address?: string | undefined;
  readonly probe: { readonly intervalMs: number; readonly timeoutMs: number };
}

/** Dependencies of an agent's session on its relay. */
export interface AgentSessionDeps {
  readonly instanceId: InstanceId;
  /** Product and version. */
  readonly software: string;
  readonly store: Store;
  readonly registry: Registry;
  readonly cache: Pick<ClusterCache, "keys">;
  /** How many relays there are under the public name, this one included. */
  readonly liveRelays: () => number;
  readonly lastSeen: Pick<LastSeen, "note">;
  readonly audit: AuditLog;
  /** Counts a tunnel. @throws ConnectError `CC_LIMIT_REACHED` when there are as many as may be. */
  readonly takeAgent: () => Release;
  /** Bytes that all sessions together may hold. */
  readonly budgets: SessionBudgets;
  readonly metrics: Pick<RelayMetrics, "ended">;
  readonly ids: RelayIds;
  readonly log: Logger;
  readonly clock: Clock;
  /** Clock and randomness of sessions. */
  readonly sessionDeps: SessionDeps;
}

/** Longest pause between probes while the last one did not pass, so that a cluster that comes up is noticed soon. */
const UNWELL_INTERVAL_MS = 1_000;

/** Runs the session of one agent: proof, registry, probes, until its channel ends. */
export function serveAgent(channel: MessageChannel, options: AgentTunnelOptions, deps: AgentSessionDeps): Session {
  const { instanceId, software, log, metrics } = deps;
  const { address } = options;
  let key: ValidAgentKey | undefined;
  let claim: Hello["agent"];
  const liveRelays = deps.liveRelays();
  const session = acceptSession(
    channel,
    {
      role: "relay",
      instanceId,
      software,
      budgets: deps.budgets,
      liveRelays,
      authenticate: async (hello, challenge) => {
        claim = hello.agent;
        key = await verifyAgentProof(hello, challenge, {
          keys: deps.cache.keys,
          authority: options.authority,
          instanceId,
        });
        await refuseSuperseded(key.keyId, hello.instanceId, deps);
        await refuseOtherCluster(key, claim?.clusterUid, deps);
        const release = deps.takeAgent();
        void session.closed.then(release);
        return { sessionId: deps.ids.sessionId() };
      },
    },
    deps.sessionDeps,
  );
  const run = async (): Promise<void> => {
    const ready = await session.ready;
    if (key === undefined) throw new ConnectError("CC_INTERNAL", "An agent's session is ready without a key");
    if (deps.liveRelays() !== liveRelays) session.announceRelays(deps.liveRelays());
    await runTunnel(tunnelOf(session, ready, key, address, deps), ready, options, deps);
  };
  run().catch((error: unknown) => {
    const { code } = toConnectError(error);
    if (code === "CC_CANCELLED") log.debug({ event: "tunnel.spare" }, "the agent looks for another relay");
    else log.warn({ event: "tunnel.refused", ...errorFields(error) }, "tunnel refused");
    session.close();
    // A dialer that left by itself was not refused.
    void session.closed.then(({ by }) => {
      if (by === "local") noteRefusal({ code, key, claim, address }, deps);
    });
  });
  void session.closed.then((end) => metrics.ended("agent", end.code ?? "ok"));
  return session;
}

interface AgentRefusal {
  readonly code: ErrorCode;
  /** The key of a proof that held. */
  readonly key: ValidAgentKey | undefined;
  /** The unproved words of HELLO. */
  readonly claim: Hello["agent"];
  readonly address: string | undefined;
}

/** Writes a refused agent into the audit; only a key whose proof held is its actor. */
function noteRefusal(refusal: AgentRefusal, { audit, clock }: Pick<AgentSessionDeps, "audit" | "clock">): void {
  const { code, key, claim, address } = refusal;
  const entry = { event: "agent.refused", actor: key?.keyId ?? "unknown", at: new Date(clock.now()), code, address };
  audit.refused(claim === undefined ? entry : { ...entry, clusterId: claim.clusterId, claimedKeyId: claim.keyId });
}

/** A store that does not answer keeps no agent out: the key was valid, and the next look finds the agent. */
async function refuseSuperseded(
  keyId: KeyId,
  agentInstanceId: InstanceId,
  { store, log }: Pick<AgentSessionDeps, "store" | "log">,
): Promise<void> {
  const superseded = await findSuperseded(store.db, keyId, [agentInstanceId]).catch((error: unknown) => {
    log.warn({ event: "keys.failed", ...errorFields(error) }, "the users of keys could not be looked up");
    return new Set<InstanceId>();
  });
  if (superseded.has(agentInstanceId)) throw new ConnectError("CC_AGENT_KEY_REFUSED", SUPERSEDED_TEXT);
}

function tunnelOf(
  session: Session,
  ready: SessionReady,
  key: ValidAgentKey,
  address: string | undefined,
  deps: AgentSessionDeps,
): Tunnel {
  const { clusterId, keyId } = key;
  const { peer, sessionId } = ready;
  const since = new Date(deps.clock.now());
  const follows = (peer.agent?.follows ?? []).map(instanceIdOf).filter((id) => id !== peer.instanceId);
  const clusterUid = peer.agent?.clusterUid;
  return { clusterId, clusterUid, keyId, follows, instanceId: peer.instanceId, sessionId, session, since, address };
}

async function runTunnel(
  tunnel: Tunnel,
  ready: SessionReady,
  options: AgentTunnelOptions,
  deps: AgentSessionDeps,
): Promise<void> {
  const { registry, lastSeen, clock } = deps;
  const { session, clusterId, instanceId, sessionId, keyId } = tunnel;
  const log = deps.log.child({ clusterId, agentInstanceId: instanceId, sessionId });
  log.info({ event: "tunnel.open", keyId, software: ready.peer.software }, "tunnel open");
  const over = new AbortController();
  const closed = session.closed.then((end) => {
    registry.remove(tunnel);
    lastSeen.note(tunnel);
    over.abort();
    log.info({ event: "tunnel.closed", code: end.code ?? "ok", reason: end.text, by: end.by }, "tunnel closed");
  });
  registry.add(tunnel);
  for (const killed of registry.followedBy(tunnel)) {
    log.warn(
      { event: "tunnel.followed", killedInstanceId: killed.instanceId },
      "an agent was killed and has a successor",
    );
    killed.session.close("CC_AGENT_REPLACED", "The agent that held the stream was killed");
  }
  void session.draining.then(() => registry.drains(tunnel));
  lastSeen.note(tunnel);
  await rememberAuthorities(tunnel, ready.peer.agent?.clusterAuthorities, deps);
  const { intervalMs, timeoutMs } = options.probe;
  while (!over.signal.aborted) {
    const probe = await probeTunnel(
      session,
      clusterId,
      { timeoutMs, signal: over.signal },
      { now: clock.now, ids: deps.ids },
    );
    if (session.state === "open") registry.probed(tunnel, probe);
    if (registry.isDisputed(clusterId)) await reconsider(clusterId, deps);
    const pauseMs = probe.kind === "passed" ? intervalMs : Math.min(intervalMs, UNWELL_INTERVAL_MS);
    await wait(pauseMs, { signal: over.signal }, { clock }).catch(() => undefined);
  }
  await closed;
}

/** Keeps the authorities of the agent's HELLO, or lets them wait. The tunnel goes on while the store is away. */
async function rememberAuthorities(tunnel: Tunnel, pem: string | undefined, deps: AgentSessionDeps): Promise<void> {
  const { store, clock, log } = deps;
  const { clusterId, keyId } = tunnel;
  if (pem === undefined) return;
  try {
    const authorities = parseAuthorities(pem);
    const at = new Date(clock.now());
    const isRenewal = (accepted: string): boolean => isRenewalOf(accepted, authorities.pem);
    const { accepted, isNews, former } = await announceAuthorities(
      store.db,
      { clusterId, pem: authorities.pem, isRenewal },
      at,
    );
    deps.registry.announced(tunnel, authorities.pem, !accepted);
    if (!isNews) return;
    const [fingerprint = authorities.fingerprint] = newFingerprints(former, authorities.pem);
    const news = accepted ? "changed" : "pending";
    const text = accepted ? "the cluster's authorities changed" : "other authorities wait to be accepted";
    log.warn({ event: `cluster.authorities.${news}`, clusterId, keyId, fingerprint }, text);
    deps.audit.record({ event: `cluster.authorities.${news}`, actor: keyId, clusterId, at, fingerprint });
  } catch (error) {
    log.error({ event: "cluster.authorities.failed", clusterId, ...errorFields(error) }, "authorities not kept");
  }
}

/** An administrator may have decided since. */
async function reconsider(clusterId: ClusterId, { registry, store, log }: AgentSessionDeps): Promise<void> {
  try {
    registry.accepted(clusterId, (await findPendingAuthorities(store.db, clusterId)).accepted);
  } catch (error) {
    log.warn({ event: "cluster.authorities.failed", ...errorFields(error) }, "authorities not looked up");
  }
}
