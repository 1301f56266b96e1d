import type { Principal } from "@cluster-connect/auth";
import type { Session, StreamRequest } from "@cluster-connect/framing";
import {
  type Caller,
  ConnectError,
  type InstanceId,
  type SessionId,
  UPSTREAM_KUBERNETES,
  UPSTREAM_PROBE,
} from "@cluster-connect/protocol";
import type { Registry } from "../agents/tunnels.ts";
import type { GrantBook } from "../grants/grant-book.ts";
import type { Peers } from "../peers/peers.ts";
import type { ClusterCache } from "../store/caches/cluster-cache.ts";

/** The sender of one session's streams. */
export interface CallerSession {
  readonly principal: Principal;
  readonly address: string | undefined;
  readonly sessionId: SessionId;
}

/** The sources of a cluster's place and of its grants. */
export interface RouteDeps {
  readonly registry: Registry;
  readonly grants: Pick<GrantBook, "decide">;
  readonly cache: Pick<ClusterCache, "clusters">;
  readonly peers: Peers;
}

/** Where a caller's stream goes: into an agent's tunnel, or to the relay that holds one. */
export type StreamRoute =
  | { readonly kind: "tunnel"; readonly session: Session; readonly agentInstanceId: InstanceId }
  | { readonly kind: "peer"; readonly session: Session; readonly peerId: InstanceId };

const RETRY_AFTER_MS = 1_000;

/**
 * Finds where a caller's stream goes; a tunnel of this relay's own comes before another relay's, unless its
 * agent announces authorities that are not accepted.
 *
 * @throws ConnectError `CC_PROTOCOL` when the caller wrote a relay's own field; `CC_CLUSTER_UNKNOWN` for a cluster
 *   that is not there or not granted, not told apart; `CC_GRANT_MISSING` for an upstream of it that is not granted,
 *   whether or not its agents have one of that name; `CC_AGENT_OFFLINE` when no agent, or not the one named, is there.
 */
export async function routeStream(
  request: StreamRequest,
  caller: CallerSession,
  deps: RouteDeps,
): Promise<StreamRoute> {
  const first = request.kind === "open" ? request.open : request.resume;
  const sessionId = request.kind === "open" ? request.open.sessionId : undefined;
  if (first.caller !== undefined || sessionId !== undefined || first.viaPeer) {
    throw new ConnectError("CC_PROTOCOL", "Caller, session and viaPeer are the relay's to write");
  }
  const { cluster } = first;
  const { principal } = caller;
  const mayReach = deps.grants.decide(principal, cluster, undefined).allowed;
  const known = mayReach && (await deps.cache.clusters.get(cluster)) === true;
  if (!known) throw new ConnectError("CC_CLUSTER_UNKNOWN", `There is no cluster ${cluster} that you may reach`);
  const upstream = upstreamOf(request);
  if (!deps.grants.decide(principal, cluster, upstream).allowed) {
    throw new ConnectError(
      "CC_GRANT_MISSING",
      `No grant of yours names the upstream ${upstream} of cluster ${cluster}`,
    );
  }
  const own = ownRoute(request, deps.registry);
  const isSecond = own === undefined || (request.kind === "open" && deps.registry.isWhollyDisputed(cluster));
  const route = (isSecond ? await peerRoute(request, deps.peers) : undefined) ?? own;
  if (route !== undefined) return route;
  const text =
    request.kind === "open"
      ? `No agent of cluster ${cluster} is connected`
      : `The agent of cluster ${cluster} that holds the stream is not connected`;
  throw new ConnectError("CC_AGENT_OFFLINE", text, { retryAfterMs: RETRY_AFTER_MS });
}

/** The upstream that a grant has to name; the agent's own health is for everybody who may reach something behind it. */
export function upstreamOf(request: StreamRequest): string | undefined {
  const { upstream = UPSTREAM_KUBERNETES } = request.kind === "open" ? request.open : request.resume;
  return upstream === UPSTREAM_PROBE ? undefined : upstream;
}

function ownRoute(request: StreamRequest, registry: Registry): StreamRoute | undefined {
  const tunnel =
    request.kind === "open"
      ? registry.pick(request.open.cluster)
      : registry.find(request.resume.cluster, request.resume.instanceId);
  if (tunnel === undefined) return undefined;
  return { kind: "tunnel", session: tunnel.session, agentInstanceId: tunnel.instanceId };
}

async function peerRoute(request: StreamRequest, peers: Peers): Promise<StreamRoute | undefined> {
  const route = await peers.route(request);
  return route === undefined ? undefined : { kind: "peer", session: route.session, peerId: route.relayId };
}

/**
 * The stream's first frame as the next hop gets it: with the caller as this relay verified them.
 *
 * @param viaPeer whether the next hop is another relay, which must not forward it again.
 */
export function rewriteRequest(
  request: StreamRequest,
  session: CallerSession,
  { viaPeer }: { readonly viaPeer: boolean },
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
      return { kind: "open", open: { ...request.open, caller, sessionId, viaPeer } };
    case "resume":
      return { kind: "resume", resume: { ...request.resume, caller, viaPeer } };
  }
}
