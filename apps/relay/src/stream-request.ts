import type { Principal } from "@cluster-connect/auth";
import type { Session, StreamRequest } from "@cluster-connect/framing";
import { type Caller, ConnectError, type InstanceId, type SessionId } from "@cluster-connect/protocol";
import type { GrantBook } from "./grants/grant-book.ts";
import type { Known } from "./known.ts";
import type { Peers } from "./peers/peers.ts";
import type { Registry } from "./registry.ts";

/** Who sends the streams of one session. */
export interface CallerSession {
  readonly principal: Principal;
  readonly address: string | undefined;
  readonly sessionId: SessionId;
}

/** The cluster, and of whom it is asked. */
export interface StreamDeps {
  readonly registry: Registry;
  readonly grants: Pick<GrantBook, "decide">;
  readonly known: Pick<Known, "clusters">;
  readonly peers: Peers;
}

/** Where a caller's stream goes: into an agent's tunnel, or to the relay that holds one. */
export type Route =
  | { readonly kind: "tunnel"; readonly session: Session; readonly agentInstanceId: InstanceId }
  | { readonly kind: "peer"; readonly session: Session; readonly peerId: InstanceId };

const RETRY_AFTER_MS = 1_000;

/**
 * Finds where a caller's stream goes; a tunnel of this relay's own comes before another relay's.
 *
 * @throws ConnectError `CC_PROTOCOL` when the caller wrote what only a relay writes; `CC_CLUSTER_UNKNOWN` for a cluster
 *   that is not there or not granted, not told apart; `CC_AGENT_OFFLINE` when no agent, or not the one named, is there.
 */
export async function routeStream(request: StreamRequest, caller: CallerSession, deps: StreamDeps): Promise<Route> {
  const first = request.kind === "open" ? request.open : request.resume;
  const sessionId = request.kind === "open" ? request.open.sessionId : undefined;
  if (first.caller !== undefined || sessionId !== undefined || first.forwarded) {
    throw new ConnectError("CC_PROTOCOL", "Caller, session and forwarded are the relay's to write");
  }
  const { cluster } = first;
  const { allowed } = deps.grants.decide(caller.principal, cluster);
  const known = allowed && (await deps.known.clusters.get(cluster)) === true;
  if (!known) throw new ConnectError("CC_CLUSTER_UNKNOWN", `There is no cluster ${cluster} that you may reach`);
  const route = ownRoute(request, deps.registry) ?? (await peerRoute(request, deps.peers));
  if (route !== undefined) return route;
  const text =
    request.kind === "open"
      ? `No agent of cluster ${cluster} is connected`
      : `The agent of cluster ${cluster} that holds the stream is not connected`;
  throw new ConnectError("CC_AGENT_OFFLINE", text, { retryAfterMs: RETRY_AFTER_MS });
}

function ownRoute(request: StreamRequest, registry: Registry): Route | undefined {
  const tunnel =
    request.kind === "open"
      ? registry.pick(request.open.cluster)
      : registry.find(request.resume.cluster, request.resume.instanceId);
  if (tunnel === undefined) return undefined;
  return { kind: "tunnel", session: tunnel.session, agentInstanceId: tunnel.instanceId };
}

async function peerRoute(request: StreamRequest, peers: Peers): Promise<Route | undefined> {
  const route = await peers.route(request);
  return route === undefined ? undefined : { kind: "peer", session: route.session, peerId: route.relayId };
}

/**
 * The stream's first frame as the next hop gets it: with the caller as this relay verified them.
 *
 * @param forwarded whether the next hop is another relay, which must not forward it again.
 */
export function rewriteRequest(
  request: StreamRequest,
  session: CallerSession,
  { forwarded }: { readonly forwarded: boolean },
): StreamRequest {
  const { principal, address, sessionId } = session;
  const caller: Caller = {
    issuer: principal.issuer,
    subject: principal.subject,
    username: principal.username,
    ...(address === undefined ? {} : { address }),
  };
  switch (request.kind) {
    case "open":
      return { kind: "open", open: { ...request.open, caller, sessionId, forwarded } };
    case "resume":
      return { kind: "resume", resume: { ...request.resume, caller, forwarded } };
  }
}
