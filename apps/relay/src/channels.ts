import type { Server } from "node:http";
import { type Clock, type Release, takeAll } from "@cluster-connect/base";
import type { Session } from "@cluster-connect/framing";
import { createWebSocketAcceptor } from "@cluster-connect/framing/ws";
import { ConnectError } from "@cluster-connect/protocol";
import type { Logger } from "@cluster-connect/service";
import { type AgentSessionDeps, type AgentTunnelOptions, serveAgent } from "./agents/serve-agent.ts";
import type { AuditLog } from "./audit/audit-log.ts";
import { type CallerSessionDeps, serveCaller } from "./callers/serve-caller.ts";
import type { Authenticate, RequestCallers } from "./http/authenticate.ts";
import { type CallerAddress, createCallerAddress } from "./http/caller-address.ts";
import { routeUpgrades, type UpgradeDeps, type UpgradeHandler } from "./http/upgrade.ts";
import type { RelayMetrics } from "./observe/metrics.ts";

import type { Quotas } from "./quota/quotas.ts";
import type { SessionSet } from "./session-set.ts";

export interface ChannelOptions {
  readonly agent: AgentTunnelOptions;
  readonly trustedProxies: readonly string[];
}

/** Dependencies of taking channels, and of the sessions over them. */
export interface ChannelDeps {
  readonly sessions: { readonly agents: SessionSet; readonly callers: SessionSet };
  readonly quotas: Quotas;
  readonly audit: AuditLog;
  readonly metrics: Pick<RelayMetrics, "shookHands" | "refusedUpgrade">;
  readonly authenticate: Authenticate;
  readonly callers: Pick<RequestCallers, "get">;
  /** Aborted when no new channel is taken any more. */
  readonly draining: AbortSignal;
  readonly admitSocket: UpgradeDeps["admitSocket"];
  readonly log: Logger;
  readonly clock: Clock;
  readonly agent: AgentSessionDeps;
  readonly caller: CallerSessionDeps;
}

type Accept = ReturnType<typeof createWebSocketAcceptor>;

/** Takes the channels of agents and CLIs from a server's upgrade requests. */
export function acceptChannels(server: Server, options: ChannelOptions, deps: ChannelDeps): void {
  const accept = createWebSocketAcceptor();
  const addressOf = createCallerAddress(options.trustedProxies);
  routeUpgrades(
    server,
    {
      "/v1/agent": takeAgents(options.agent, addressOf, accept, deps),
      "/v1/connect": takeCallers(addressOf, accept, deps),
    },
    {
      admitSocket: deps.admitSocket,
      log: deps.log,
      onRefused: ({ path, code }, request) => {
        deps.metrics.refusedUpgrade(code);
        const at = new Date(deps.clock.now());
        const actor = deps.callers.get(request) ?? "unknown";
        const refusal = { event: "session.refused", actor, at, path, code };
        deps.audit.refused({ ...refusal, address: addressOf(request) });
      },
    },
  );
}

function takeAgents(
  options: AgentTunnelOptions,
  addressOf: CallerAddress,
  accept: Accept,
  deps: ChannelDeps,
): UpgradeHandler {
  const { quotas } = deps;
  const admitAgent = (address: string | undefined): Release => {
    quotas.admitAgent(address);
    return () => undefined;
  };
  return async ({ request, socket, head }) => {
    refuseWhenDraining(deps.draining);
    const startedAt = deps.clock.now();
    const address = addressOf(request);
    const end = (): void => void socket.destroy();
    const proved = takeAll([() => quotas.takeHandshake(address, end), () => admitAgent(address)]);
    const channel = await accept(request, socket, head).catch(releaseAndThrow(proved));
    if (channel === undefined) return proved();
    const session = serveAgent(channel, { ...options, address }, deps.agent);
    deps.sessions.agents.add(session);
    session.ready.then(proved, proved);
    noteHandshake("agent", session, startedAt, deps);
  };
}

function takeCallers(addressOf: CallerAddress, accept: Accept, deps: ChannelDeps): UpgradeHandler {
  const { quotas } = deps;
  return async ({ request, socket, head }, { signal }) => {
    refuseWhenDraining(deps.draining);
    const startedAt = deps.clock.now();
    const address = addressOf(request);
    const proved = quotas.takeHandshake(address, () => void socket.destroy());
    const principal = await deps.authenticate(request, { signal }).finally(proved);
    deps.audit.assertAccepting();
    const ended = quotas.takeSession(principal);
    const channel = await accept(request, socket, head).catch(releaseAndThrow(ended));
    if (channel === undefined) return ended();
    const session = serveCaller(channel, { principal, address }, deps.caller);
    deps.sessions.callers.add(session);
    void session.closed.then(ended);
    noteHandshake("cli", session, startedAt, deps);
  };
}

function noteHandshake(
  role: "agent" | "cli",
  session: Session,
  startedAt: number,
  { metrics, clock }: Pick<ChannelDeps, "metrics" | "clock">,
): void {
  const note = (): void => metrics.shookHands(role, clock.now() - startedAt);
  session.ready.then(note, () => undefined);
}

function refuseWhenDraining(draining: AbortSignal): void {
  if (draining.aborted) throw new ConnectError("CC_DRAINING", "The relay is stopping");
}

function releaseAndThrow(release: Release): (error: unknown) => never {
  return (error) => {
    release();
    throw error;
  };
}
