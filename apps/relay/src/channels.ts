import type { Server } from "node:http";
import { createWebSocketAcceptor } from "@cluster-connect/framing/ws";
import { ConnectError } from "@cluster-connect/protocol";
import { type AgentTunnelOptions, serveAgent } from "./agent-tunnels.ts";
import type { Authenticate } from "./authenticate.ts";
import { createCallerAddress } from "./caller-address.ts";
import { serveCaller } from "./cli-sessions.ts";
import type { RelayContext } from "./relay-context.ts";
import type { SessionSet } from "./session-set.ts";
import { routeUpgrades } from "./upgrade.ts";

export interface ChannelOptions {
  readonly agent: AgentTunnelOptions;
  readonly trustedProxies: readonly string[];
  /** Aborted when no new channel is taken any more. */
  readonly draining: AbortSignal;
}

/** Agents that have a channel and have not proved anything yet; anybody may come this far. */
const MAX_UNPROVED_AGENTS = 2_000;

/** Takes the channels of agents and CLIs from a server's upgrade requests. */
export function acceptChannels(
  server: Server,
  options: ChannelOptions,
  context: RelayContext,
  deps: { readonly authenticate: Authenticate; readonly agents: SessionSet; readonly callers: SessionSet },
): void {
  const accept = createWebSocketAcceptor();
  const addressOf = createCallerAddress(options.trustedProxies);
  let unproved = 0;
  const refuseWhenDraining = (): void => {
    if (options.draining.aborted) throw new ConnectError("CC_DRAINING", "The relay is stopping");
  };
  routeUpgrades(
    server,
    {
      "/v1/agent": async ({ request, socket, head }) => {
        refuseWhenDraining();
        if (unproved >= MAX_UNPROVED_AGENTS) throw new ConnectError("CC_LIMIT_REACHED", "Too many agents are dialing");
        const channel = await accept(request, socket, head);
        if (channel === undefined) return;
        const session = serveAgent(channel, { ...options.agent, address: addressOf(request) }, context);
        deps.agents.add(session);
        unproved += 1;
        const settle = (): void => {
          unproved -= 1;
        };
        session.ready.then(settle, settle);
      },
      "/v1/connect": async ({ request, socket, head }, { signal }) => {
        refuseWhenDraining();
        const principal = await deps.authenticate(request, { signal });
        const address = addressOf(request);
        const channel = await accept(request, socket, head);
        if (channel !== undefined) deps.callers.add(serveCaller(channel, { principal, address }, context));
      },
    },
    { log: context.log },
  );
}
