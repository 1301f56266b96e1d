import { onAbort } from "@cluster-connect/base";
import type { Session } from "@cluster-connect/framing";
import {
  type ClusterId,
  ConnectError,
  decodeProbe,
  MAX_JSON_BYTES,
  type ProbeDocument,
  toConnectError,
  UPSTREAM_PROBE,
} from "@cluster-connect/protocol";
import type { RelayIds } from "../ids.ts";
import type { ProbeState } from "../status/state.ts";

export interface ProbeDeps {
  readonly now: () => number;
  readonly ids: Pick<RelayIds, "correlationId">;
}

/** Asks a cluster's agent how the way to its kube-apiserver is. Never rejects. */
export async function probeTunnel(
  session: Session,
  clusterId: ClusterId,
  options: { readonly timeoutMs: number; readonly signal: AbortSignal },
  deps: ProbeDeps,
): Promise<ProbeState> {
  try {
    const document = decodeProbe(await askForHealth(session, clusterId, options, deps));
    const failure = firstFailure(document);
    const at = new Date(deps.now());
    return failure === undefined ? { kind: "passed", at } : { kind: "failed", at, reason: failure };
  } catch (error) {
    return { kind: "failed", at: new Date(deps.now()), reason: toConnectError(error).message };
  }
}

async function askForHealth(
  session: Session,
  clusterId: ClusterId,
  options: { readonly timeoutMs: number; readonly signal: AbortSignal },
  deps: ProbeDeps,
): Promise<Uint8Array> {
  const timeout = AbortSignal.timeout(options.timeoutMs);
  const signal = AbortSignal.any([options.signal, timeout]);
  const stream = session.open({
    cluster: clusterId,
    upstream: UPSTREAM_PROBE,
    correlationId: deps.ids.correlationId(),
  });
  const leave = onAbort(signal, () => stream.reset("CC_TIMEOUT", "The agent did not answer the probe in time"));
  stream.end();
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of stream) {
      if (!Buffer.isBuffer(chunk)) continue;
      bytes += chunk.length;
      if (bytes > MAX_JSON_BYTES) throw new ConnectError("CC_PROTOCOL", "The agent's health answer is too long");
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  } finally {
    leave();
  }
}

/** The first hop that is not well, in the order of the way; undefined when all are. */
export function firstFailure(document: ProbeDocument): string | undefined {
  const hops = [
    ["agent", document.agent],
    ["auth proxy", document.authProxy],
    ["kube-apiserver", document.apiserver],
  ] as const;
  const failed = hops.find(([, { ok }]) => !ok);
  return failed === undefined ? undefined : `${failed[0]}: ${failed[1].text}`;
}
