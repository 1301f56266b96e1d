import { randomBytes } from "node:crypto";
import {
  acceptSession,
  forwardStream,
  type IncomingStream,
  type MessageChannel,
  type Session,
  type StreamRequest,
} from "@cluster-connect/framing";
import { ConnectError, type InstanceId, parseSessionId, toConnectError } from "@cluster-connect/protocol";
import { errorFields } from "@cluster-connect/service";
import type { Tunnel } from "../registry.ts";
import type { RelayContext } from "../relay-context.ts";

/**
 * Runs the session of another relay: each stream goes into a tunnel of this relay, or nowhere.
 *
 * @param judge whether the certificate of the channel is that of the relay with this id.
 */
export function servePeer(
  channel: MessageChannel,
  judge: (peerId: InstanceId) => Promise<boolean>,
  context: RelayContext,
): Session {
  const { instanceId, software } = context;
  const session = acceptSession(
    channel,
    {
      role: "relay",
      instanceId,
      software,
      authenticate: async (hello) => {
        if (hello.role !== "peer") throw new ConnectError("CC_PROTOCOL", "Only a relay opens a session here");
        if (!(await judge(hello.instanceId))) {
          throw new ConnectError("CC_PEER_REFUSED", "The certificate does not name the relay that it is shown for");
        }
        return { sessionId: parseSessionId(randomBytes(16).toString("base64url")) };
      },
      onStream: (incoming) => {
        forward(incoming, context).catch((error: unknown) => {
          context.log.error({ event: "stream.failed", ...errorFields(error) }, "a peer's stream failed");
          incoming.reject("CC_INTERNAL", "The relay failed; its log says why");
        });
      },
    },
    context.sessionDeps,
  );
  void session.closed.then((end) => context.metrics.ended("peer", end.code ?? "ok"));
  return session;
}

async function forward(incoming: IncomingStream, { registry, log, metrics }: RelayContext): Promise<void> {
  const { request } = incoming;
  try {
    const tunnel = localTunnel(request, registry);
    const passing = forwardStream(incoming, tunnel.session, asSentToAgent(request));
    const { upBytes, downBytes } = await passing.done;
    metrics.forwarded(upBytes, downBytes);
  } catch (cause) {
    const { code, message, retryAfterMs } = toConnectError(cause);
    if (code === "CC_INTERNAL") throw cause;
    log.info({ event: "stream.refused", kind: request.kind, code, reason: message }, "a peer's stream refused");
    incoming.reject(code, message, retryAfterMs);
  }
}

/**
 * The tunnel of this relay that a peer's stream goes into.
 *
 * @throws ConnectError `CC_PROTOCOL` for a stream that no relay has checked, `CC_FORWARD_LOOP` when there is no tunnel
 *   here: a stream is forwarded once.
 */
export function localTunnel(request: StreamRequest, registry: Pick<RelayContext["registry"], "pick" | "find">): Tunnel {
  const first = request.kind === "open" ? request.open : request.resume;
  if (!first.forwarded || first.caller === undefined) {
    throw new ConnectError("CC_PROTOCOL", "A relay sends what it has checked, with the caller");
  }
  const tunnel =
    request.kind === "open" ? registry.pick(first.cluster) : registry.find(first.cluster, request.resume.instanceId);
  if (tunnel !== undefined) return tunnel;
  throw new ConnectError("CC_FORWARD_LOOP", `This relay has no tunnel to cluster ${first.cluster} any more`);
}

function asSentToAgent(request: StreamRequest): StreamRequest {
  switch (request.kind) {
    case "open":
      return { kind: "open", open: { ...request.open, forwarded: false } };
    case "resume":
      return { kind: "resume", resume: { ...request.resume, forwarded: false } };
  }
}
