import type { Server } from "node:http";
import type { Session } from "@cluster-connect/framing";
import { createWebSocketAcceptor } from "@cluster-connect/framing/ws";
import { ConnectError } from "@cluster-connect/protocol";
import { type AgentTunnelOptions, serveAgent } from "./agent-tunnels.ts";
import type { Authenticate } from "./authenticate.ts";
import { createCallerAddress } from "./caller-address.ts";
import { serveCaller } from "./cli-sessions.ts";
import { type Release, takeAll } from "./quota/counted.ts";
import type { RelayContext } from "./relay-context.ts";
import type { SessionSet } from "./session-set.ts";
import { routeUpgrades } from "./upgrade.ts";

export interface ChannelOptions {
  readonly agent: AgentTunnelOptions;
  readonly trustedProxies: readonly string[];
  /** Aborted when no new channel is taken any more. */
  readonly draining: AbortSignal;
}

/** Takes the channels of agents and CLIs from a server's upgrade requests. */
export function acceptChannels(
  server: Server,
  options: ChannelOptions,
  context: RelayContext,
  deps: { readonly authenticate: Authenticate; readonly agents: SessionSet; readonly callers: SessionSet },
): void {
  const accept = createWebSocketAcceptor();
  const addressOf = createCallerAddress(options.trustedProxies);
  const { quotas } = context;
  const admitAgent = (address: string | undefined): Release => {
    quotas.admitAgent(address);
    return () => undefined;
  };
  const noteHandshake = (role: "agent" | "cli", session: Session, startedAt: number): void => {
    const note = (): void => context.metrics.shookHands(role, context.clock.now() - startedAt);
    session.ready.then(note, () => undefined);
  };
  const refuseWhenDraining = (): void => {
    if (options.draining.aborted) throw new ConnectError("CC_DRAINING", "The relay is stopping");
  };
  routeUpgrades(
    server,
    {
      "/v1/agent": async ({ request, socket, head }) => {
        refuseWhenDraining();
        const startedAt = context.clock.now();
        const address = addressOf(request);
        const end = (): void => void socket.destroy();
        const proved = takeAll([() => quotas.takeHandshake(address, end), () => admitAgent(address)]);
        const channel = await accept(request, socket, head).catch(releaseAndThrow(proved));
        if (channel === undefined) return proved();
        const session = serveAgent(channel, { ...options.agent, address }, context);
        deps.agents.add(session);
        session.ready.then(proved, proved);
        noteHandshake("agent", session, startedAt);
      },
      "/v1/connect": async ({ request, socket, head }, { signal }) => {
        refuseWhenDraining();
        const startedAt = context.clock.now();
        const address = addressOf(request);
        const proved = quotas.takeHandshake(address, () => void socket.destroy());
        const principal = await deps.authenticate(request, { signal }).finally(proved);
        context.audit.assertAccepting();
        const ended = quotas.takeSession(principal);
        const channel = await accept(request, socket, head).catch(releaseAndThrow(ended));
        if (channel === undefined) return ended();
        const session = serveCaller(channel, { principal, address }, context);
        deps.callers.add(session);
        void session.closed.then(ended);
        noteHandshake("cli", session, startedAt);
      },
    },
    {
      log: context.log,
      onRefused: ({ path, code }, request) => {
        context.metrics.refusedUpgrade(code);
        const at = new Date(context.clock.now());
        const refusal = { event: "session.refused", actor: "unknown", at, path, code };
        context.audit.refused({ ...refusal, address: addressOf(request) });
      },
    },
  );
}

function releaseAndThrow(release: Release): (error: unknown) => never {
  return (error) => {
    release();
    throw error;
  };
}
