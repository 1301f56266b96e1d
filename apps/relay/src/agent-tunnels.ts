import { randomBytes } from "node:crypto";
import { acceptSession, type MessageChannel, type Session, type SessionReady } from "@cluster-connect/framing";
import { ConnectError, parseSessionId } from "@cluster-connect/protocol";
import { errorFields, repeat } from "@cluster-connect/service";
import { verifyAgentProof } from "./agent-proof.ts";
import { parseAuthorities } from "./authorities.ts";
import { probeTunnel } from "./probe.ts";
import type { Tunnel } from "./registry.ts";
import type { RelayContext } from "./relay-context.ts";
import { type AgentKey, markKeyUsed } from "./store/agent-keys.ts";
import { markSeen, setAuthorities } from "./store/clusters.ts";

export interface AgentTunnelOptions {
  /** Host and perhaps port of the relay's public name, which agents sign. */
  readonly authority: string;
  readonly probe: { readonly intervalMs: number; readonly timeoutMs: number };
}

/** Runs the session of one agent: proof, registry, probes, until its channel ends. */
export function serveAgent(channel: MessageChannel, options: AgentTunnelOptions, context: RelayContext): Session {
  const { instanceId, software, store, log, metrics } = context;
  let key: AgentKey | undefined;
  const session = acceptSession(
    channel,
    {
      role: "relay",
      instanceId,
      software,
      authenticate: async (hello, challenge) => {
        key = await verifyAgentProof(hello, challenge, { store, authority: options.authority, instanceId });
        return { sessionId: parseSessionId(randomBytes(16).toString("base64url")) };
      },
    },
    context.sessionDeps,
  );
  const run = async (): Promise<void> => {
    const ready = await session.ready;
    if (key === undefined) throw new ConnectError("CC_INTERNAL", "An agent's session is ready without a key");
    await runTunnel(tunnelOf(session, ready, key, context), ready, options, context);
  };
  run().catch((error: unknown) => {
    log.warn({ event: "tunnel.refused", ...errorFields(error) }, "tunnel refused");
    session.close();
  });
  void session.closed.then((end) => metrics.ended("agent", end.code ?? "ok"));
  return session;
}

function tunnelOf(session: Session, ready: SessionReady, key: AgentKey, context: RelayContext): Tunnel {
  const { clusterId, keyId } = key;
  const { peer, sessionId } = ready;
  return { clusterId, keyId, instanceId: peer.instanceId, sessionId, session, since: new Date(context.clock.now()) };
}

async function runTunnel(
  tunnel: Tunnel,
  ready: SessionReady,
  options: AgentTunnelOptions,
  context: RelayContext,
): Promise<void> {
  const { registry } = context;
  const { session, clusterId, instanceId, sessionId, keyId } = tunnel;
  const log = context.log.child({ clusterId, agentInstanceId: instanceId, sessionId });
  log.info({ event: "tunnel.open", keyId, software: ready.peer.software }, "tunnel open");
  const over = new AbortController();
  const closed = session.closed.then((end) => {
    registry.remove(tunnel);
    over.abort();
    log.info({ event: "tunnel.closed", code: end.code ?? "ok", reason: end.text, by: end.by }, "tunnel closed");
  });
  registry.add(tunnel);
  const attempt = async (work: () => Promise<void>): Promise<void> => {
    // The store may be away for a while; the tunnel goes on.
    await work().catch((error: unknown) =>
      log.error({ event: "tunnel.record.failed", ...errorFields(error) }, "the tunnel could not be recorded"),
    );
  };
  await attempt(() => rememberAgent(tunnel, ready.peer.agent?.clusterAuthorities, context));
  await repeat(
    async () => {
      await probeOnce(tunnel, options.probe.timeoutMs, over.signal, context);
      await attempt(() => markSeen(context.store.db, [clusterId], new Date(context.clock.now())));
    },
    { intervalMs: options.probe.intervalMs, signal: over.signal },
    context.clock,
  );
  await closed;
}

async function probeOnce(tunnel: Tunnel, timeoutMs: number, signal: AbortSignal, context: RelayContext): Promise<void> {
  const { session, clusterId } = tunnel;
  if (session.state !== "open") return;
  context.registry.probed(tunnel, await probeTunnel(session, clusterId, { timeoutMs, signal }, context.clock));
}

async function rememberAgent(tunnel: Tunnel, authorities: string | undefined, context: RelayContext): Promise<void> {
  const { store, clock, log } = context;
  const { clusterId, keyId } = tunnel;
  const now = new Date(clock.now());
  await markKeyUsed(store.db, keyId, now);
  await markSeen(store.db, [clusterId], now);
  if (authorities === undefined) return;
  const { pem, fingerprint } = parseAuthorities(authorities);
  const news = await setAuthorities(store.db, clusterId, pem, now);
  if (news) log.warn({ event: "cluster.authorities", clusterId, keyId, fingerprint }, "cluster authorities changed");
}
