import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { type generateAgentKey, signChallenge } from "@cluster-connect/auth";
import { dialSession, type Session } from "@cluster-connect/framing";
import { dialWebSocket } from "@cluster-connect/framing/ws";
import { agentChallengeInput, type ClusterId, parseInstanceId, toConnectError } from "@cluster-connect/protocol";

/** An agent without a cluster behind it: the protocol is real, the answers to probes are made up. */
export interface LightAgent {
  readonly session: Session;
  readonly refusals: number;
}

export interface LightAgentOptions {
  readonly relay: URL;
  /** The public name that the agent signs, where it dials around a balancer. */
  readonly authority?: string;
  /** PEM to trust. */
  readonly ca: string;
  readonly clusterId: ClusterId;
  readonly key: ReturnType<typeof generateAgentKey>;
  readonly signal: AbortSignal;
}

const HEALTHY = JSON.stringify({
  agent: { ok: true, text: "running" },
  authProxy: { ok: true, text: "ready" },
  apiserver: { ok: true, text: "ok" },
});
const DIAL_TIMEOUT_MS = 20_000;
const RETRY_MS = 1_000;

/** Dials until the relay takes the agent, waiting as long as the relay says. */
export async function dialLightAgent(options: LightAgentOptions): Promise<LightAgent> {
  for (let refusals = 0; ; refusals += 1) {
    try {
      const session = await dial(options);
      await session.ready;
      return { session, refusals };
    } catch (error) {
      options.signal.throwIfAborted();
      const waitMs = toConnectError(error).retryAfterMs ?? RETRY_MS * Math.random();
      await delay(waitMs, undefined, { signal: options.signal });
    }
  }
}

async function dial({
  relay,
  ca,
  clusterId,
  key,
  signal,
  authority = relay.host,
}: LightAgentOptions): Promise<Session> {
  const instanceId = parseInstanceId(randomBytes(12).toString("base64url"));
  const channel = await dialWebSocket(new URL("/v1/agent", relay), {
    signal: AbortSignal.any([signal, AbortSignal.timeout(DIAL_TIMEOUT_MS)]),
    tls: { ca },
  });
  return dialSession(channel, {
    role: "agent",
    instanceId,
    software: "light-agent",
    prove: async ({ challenge, instanceId: relayInstanceId }) => {
      if (challenge === undefined) throw new Error("the relay sent no challenge");
      const input = agentChallengeInput({
        challenge,
        relayInstanceId,
        agentInstanceId: instanceId,
        clusterId,
        authority,
      });
      return { clusterId, keyId: key.keyId, authority, signature: signChallenge(key, input) };
    },
    onStream: (incoming) => {
      const probe = incoming.request.kind === "open" && incoming.request.open.upstream === "probe";
      const stream = incoming.accept({ instanceId });
      stream.on("error", () => undefined);
      if (probe) stream.resume().end(HEALTHY);
      else stream.pipe(stream);
    },
  });
}
