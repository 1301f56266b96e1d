import type { Principal } from "@cluster-connect/auth";
import type { StreamRequest } from "@cluster-connect/framing";
import { type Caller, ConnectError, type SessionId } from "@cluster-connect/protocol";
import type { GrantBook } from "./grants/grant-book.ts";
import type { Registry, Tunnel } from "./registry.ts";

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
  readonly isKnownCluster: (clusterId: string) => Promise<boolean>;
}

const RETRY_AFTER_MS = 1_000;

/**
 * Finds the tunnel that a caller's stream goes into.
 *
 * @throws ConnectError `CC_PROTOCOL` when the caller wrote what only a relay writes; `CC_CLUSTER_UNKNOWN` for a cluster
 *   that is not there or not granted, not told apart; `CC_AGENT_OFFLINE` when no agent, or not the one named, is there.
 */
export async function routeStream(request: StreamRequest, caller: CallerSession, deps: StreamDeps): Promise<Tunnel> {
  const first = request.kind === "open" ? request.open : request.resume;
  const sessionId = request.kind === "open" ? request.open.sessionId : undefined;
  if (first.caller !== undefined || sessionId !== undefined || first.forwarded) {
    throw new ConnectError("CC_PROTOCOL", "Caller, session and forwarded are the relay's to write");
  }
  const { cluster } = first;
  const { allowed } = deps.grants.decide(caller.principal, cluster);
  const known = allowed && (await deps.isKnownCluster(cluster));
  if (!known) throw new ConnectError("CC_CLUSTER_UNKNOWN", `There is no cluster ${cluster} that you may reach`);
  const tunnel =
    request.kind === "open" ? deps.registry.pick(cluster) : deps.registry.find(cluster, request.resume.instanceId);
  if (tunnel !== undefined) return tunnel;
  const text =
    request.kind === "open"
      ? `No agent of cluster ${cluster} is connected`
      : `The agent of cluster ${cluster} that holds the stream is not connected`;
  throw new ConnectError("CC_AGENT_OFFLINE", text, { retryAfterMs: RETRY_AFTER_MS });
}

/** The stream's first frame as the agent gets it: with the caller as this relay verified them. */
export function rewriteRequest(request: StreamRequest, session: CallerSession): StreamRequest {
  const { principal, address, sessionId } = session;
  const caller: Caller = {
    issuer: principal.issuer,
    subject: principal.subject,
    username: principal.username,
    ...(address === undefined ? {} : { address }),
  };
  switch (request.kind) {
    case "open":
      return { kind: "open", open: { ...request.open, caller, sessionId, forwarded: false } };
    case "resume":
      return { kind: "resume", resume: { ...request.resume, caller, forwarded: false } };
  }
}
