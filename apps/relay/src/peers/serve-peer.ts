import type { Clock, Release } from "@cluster-connect/base";
import {
  acceptSession,
  forwardStream,
  type IncomingStream,
  type MessageChannel,
  type Session,
  type SessionDeps,
  type StreamRequest,
} from "@cluster-connect/framing";
import { ConnectError, type InstanceId, toConnectError } from "@cluster-connect/protocol";
import { errorFields, type Logger } from "@cluster-connect/service";
import type { Registry, Tunnel } from "../agents/tunnels.ts";
import type { AuditLog } from "../audit/audit-log.ts";
import type { RelayIds } from "../ids.ts";
import type { RelayMetrics } from "../observe/metrics.ts";
import type { Quotas } from "../quota/quotas.ts";

/** Dependencies of a peer's session on its relay. */
export interface PeerSessionDeps {
  readonly instanceId: InstanceId;
  /** Product and version. */
  readonly software: string;
  readonly registry: Registry;
  readonly metrics: Pick<RelayMetrics, "ended" | "forwarded" | "refusedUpgrade">;
  /** A stream counts against its caller at each relay that it passes. */
  readonly quotas: Pick<Quotas, "takeStream">;
  readonly audit: Pick<AuditLog, "refused">;
  readonly ids: RelayIds;
  readonly log: Logger;
  readonly clock: Clock;
  readonly sessionDeps: SessionDeps;
}

/** The dialer of a channel between relays. */
export interface PeerDialer {
  /** Whether the certificate of the channel is that of the relay with this id. */
  readonly judge: (peerId: InstanceId) => Promise<boolean>;
  readonly address: string | undefined;
}

/** Runs the session of another relay: each stream goes into a tunnel of this relay, or nowhere. */
export function servePeer(channel: MessageChannel, { judge, address }: PeerDialer, deps: PeerSessionDeps): Session {
  const { instanceId, software } = deps;
  const session = acceptSession(
    channel,
    {
      role: "relay",
      instanceId,
      software,
      authenticate: async (hello) => {
        if (hello.role !== "peer") throw new ConnectError("CC_PROTOCOL", "Only a relay opens a session here");
        if (!(await judge(hello.instanceId))) {
          notePeerRefusal({ code: "CC_PEER_REFUSED", claimedRelayId: hello.instanceId, address }, deps);
          throw new ConnectError("CC_PEER_REFUSED", "The certificate does not name the relay that it is shown for");
        }
        return { sessionId: deps.ids.sessionId() };
      },
      onStream: (incoming) => {
        forwardPeerStream(incoming, deps).catch((error: unknown) => {
          deps.log.error({ event: "stream.failed", ...errorFields(error) }, "a peer's stream failed");
          incoming.reject("CC_INTERNAL", "The relay failed; its log says why");
        });
      },
    },
    deps.sessionDeps,
  );
  void session.closed.then((end) => deps.metrics.ended("peer", end.code ?? "ok"));
  return session;
}

/** Writes a dialer that is no relay of this store into the audit. */
export function notePeerRefusal(
  refusal: { readonly code: string; readonly claimedRelayId?: InstanceId; readonly address: string | undefined },
  { audit, clock }: Pick<PeerSessionDeps, "audit" | "clock">,
): void {
  audit.refused({ event: "peer.refused", actor: "unknown", at: new Date(clock.now()), ...refusal });
}

async function forwardPeerStream(
  incoming: IncomingStream,
  { registry, log, metrics, quotas }: PeerSessionDeps,
): Promise<void> {
  const { request } = incoming;
  let release: Release = () => undefined;
  try {
    const tunnel = localTunnel(request, registry);
    release = takePlace(request, quotas);
    const passing = forwardStream(incoming, tunnel.session, asSentToAgent(request));
    const { upBytes, downBytes } = await passing.done;
    release();
    metrics.forwarded(upBytes, downBytes);
  } catch (cause) {
    release();
    const { code, message, retryAfterMs } = toConnectError(cause);
    if (code === "CC_INTERNAL") throw cause;
    log.info({ event: "stream.refused", kind: request.kind, code, reason: message }, "a peer's stream refused");
    incoming.reject(code, message, retryAfterMs);
  }
}

function takePlace(request: StreamRequest, quotas: Pick<Quotas, "takeStream">): Release {
  const { caller, cluster } = request.kind === "open" ? request.open : request.resume;
  if (caller === undefined) throw new ConnectError("CC_PROTOCOL", "A relay names the caller of each stream");
  return quotas.takeStream(caller, cluster, request.kind);
}

/**
 * The tunnel of this relay that a peer's stream goes into.
 *
 * @throws ConnectError `CC_PROTOCOL` for a stream that no relay has checked, `CC_PEER_LOOP` when there is no tunnel
 *   here: a stream is forwarded once.
 */
export function localTunnel(request: StreamRequest, registry: Pick<Registry, "pick" | "find">): Tunnel {
  const first = request.kind === "open" ? request.open : request.resume;
  if (!first.viaPeer || first.caller === undefined) {
    throw new ConnectError("CC_PROTOCOL", "A relay sends what it has checked, with the caller");
  }
  const tunnel =
    request.kind === "open" ? registry.pick(first.cluster) : registry.find(first.cluster, request.resume.instanceId);
  if (tunnel !== undefined) return tunnel;
  throw new ConnectError("CC_PEER_LOOP", `This relay has no tunnel to cluster ${first.cluster} any more`);
}

function asSentToAgent(request: StreamRequest): StreamRequest {
  switch (request.kind) {
    case "open":
      return { kind: "open", open: { ...request.open, viaPeer: false } };
    case "resume":
      return { kind: "resume", resume: { ...request.resume, viaPeer: false } };
  }
}
