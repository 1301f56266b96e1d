import { randomBytes } from "node:crypto";
import { acceptSession, type MessageChannel, type Session, type SessionReady } from "@cluster-connect/framing";
import { ConnectError, type InstanceId, type KeyId, parseSessionId, toConnectError } from "@cluster-connect/protocol";
import { errorFields } from "@cluster-connect/service";
import { verifyAgentProof } from "./agent-proof.ts";
import { parseAuthorities } from "./authorities.ts";
import { probeTunnel } from "./probe.ts";
import type { Tunnel } from "./registry.ts";
import type { RelayContext } from "./relay-context.ts";
import { SUPERSEDED_TEXT } from "./shared-keys.ts";
import type { AgentKey } from "./store/agent-keys.ts";
import { setAuthorities } from "./store/clusters.ts";
import { findSuperseded } from "./store/shared-keys.ts";

export interface AgentTunnelOptions {
  /** Host and perhaps port of the relay's public name, which agents sign. */
  readonly authority: string;
  /** The agent's address, as far as it is known. */
  readonly address?: string | undefined;
  readonly probe: { readonly intervalMs: number; readonly timeoutMs: number };
}

/** Longest pause between probes while the last one did not pass, so that a cluster that comes up is noticed soon. */
const UNWELL_INTERVAL_MS = 1_000;

/** Runs the session of one agent: proof, registry, probes, until its channel ends. */
export function serveAgent(channel: MessageChannel, options: AgentTunnelOptions, context: RelayContext): Session {
  const { instanceId, software, log, metrics } = context;
  const { address } = options;
  let key: AgentKey | undefined;
  const liveRelays = context.liveRelays();
  const session = acceptSession(
    channel,
    {
      role: "relay",
      instanceId,
      software,
      budgets: context.budgets,
      liveRelays,
      authenticate: async (hello, challenge) => {
        key = await verifyAgentProof(hello, challenge, {
          keys: context.known.keys,
          authority: options.authority,
          instanceId,
        });
        await refuseSuperseded(key.keyId, hello.instanceId, context);
        return { sessionId: parseSessionId(randomBytes(16).toString("base64url")) };
      },
    },
    context.sessionDeps,
  );
  const run = async (): Promise<void> => {
    const ready = await session.ready;
    if (key === undefined) throw new ConnectError("CC_INTERNAL", "An agent's session is ready without a key");
    if (context.liveRelays() !== liveRelays) session.sayRelays(context.liveRelays());
    await runTunnel(tunnelOf(session, ready, key, address, context), ready, options, context);
  };
  run().catch((error: unknown) => {
    if (toConnectError(error).code === "CC_CANCELLED")
      log.debug({ event: "tunnel.spare" }, "the agent looks for another relay");
    else log.warn({ event: "tunnel.refused", ...errorFields(error) }, "tunnel refused");
    session.close();
  });
  void session.closed.then((end) => metrics.ended("agent", end.code ?? "ok"));
  return session;
}

/** A store that does not answer keeps nobody out: the key was valid, and the next look finds the agent. */
async function refuseSuperseded(
  keyId: KeyId,
  agentInstanceId: InstanceId,
  { store, log }: RelayContext,
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
  key: AgentKey,
  address: string | undefined,
  context: RelayContext,
): Tunnel {
  const { clusterId, keyId } = key;
  const { peer, sessionId } = ready;
  const since = new Date(context.clock.now());
  return { clusterId, keyId, instanceId: peer.instanceId, sessionId, session, since, address };
}

async function runTunnel(
  tunnel: Tunnel,
  ready: SessionReady,
  options: AgentTunnelOptions,
  context: RelayContext,
): Promise<void> {
  const { registry, lastSeen, clock } = context;
  const { session, clusterId, instanceId, sessionId, keyId } = tunnel;
  const log = context.log.child({ clusterId, agentInstanceId: instanceId, sessionId });
  log.info({ event: "tunnel.open", keyId, software: ready.peer.software }, "tunnel open");
  const over = new AbortController();
  const closed = session.closed.then((end) => {
    registry.remove(tunnel);
    lastSeen.note(tunnel);
    over.abort();
    log.info({ event: "tunnel.closed", code: end.code ?? "ok", reason: end.text, by: end.by }, "tunnel closed");
  });
  registry.add(tunnel);
  void session.draining.then(() => registry.drains(tunnel));
  lastSeen.note(tunnel);
  await rememberAuthorities(tunnel, ready.peer.agent?.clusterAuthorities, context);
  const { intervalMs, timeoutMs } = options.probe;
  while (!over.signal.aborted) {
    const probe = await probeTunnel(session, clusterId, { timeoutMs, signal: over.signal }, clock);
    if (session.state === "open") registry.probed(tunnel, probe);
    const pauseMs = probe.kind === "passed" ? intervalMs : Math.min(intervalMs, UNWELL_INTERVAL_MS);
    await clock.wait(pauseMs, { signal: over.signal }).catch(() => undefined);
  }
  await closed;
}

/** Keeps what the agent's HELLO says; the store may be away for a while, and the tunnel goes on without. */
async function rememberAuthorities(tunnel: Tunnel, pem: string | undefined, context: RelayContext): Promise<void> {
  const { store, clock, log } = context;
  const { clusterId, keyId } = tunnel;
  if (pem === undefined) return;
  try {
    const authorities = parseAuthorities(pem);
    const news = await setAuthorities(store.db, clusterId, authorities.pem, new Date(clock.now()));
    if (!news) return;
    const fields = { event: "cluster.authorities", clusterId, keyId, fingerprint: authorities.fingerprint };
    log.warn(fields, "the cluster's authorities changed");
    const { fingerprint } = authorities;
    const at = new Date(clock.now());
    context.audit.record({ event: "cluster.authorities.changed", actor: keyId, clusterId, at, fingerprint });
  } catch (error) {
    log.error({ event: "cluster.authorities.failed", clusterId, ...errorFields(error) }, "authorities not kept");
  }
}
