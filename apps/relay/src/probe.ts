import { randomBytes } from "node:crypto";
import type { Session } from "@cluster-connect/framing";
import {
  type ClusterId,
  ConnectError,
  parseCorrelationId,
  toConnectError,
  UPSTREAM_PROBE,
} from "@cluster-connect/protocol";
import type { ProbeState } from "./cluster-status.ts";
import { firstFailure, MAX_PROBE_BYTES, parseProbeDocument } from "./probe-document.ts";

const UTF8 = new TextDecoder();

/** Asks a cluster's agent how the way to its kube-apiserver is. Never rejects. */
export async function probeTunnel(
  session: Session,
  clusterId: ClusterId,
  options: { readonly timeoutMs: number; readonly signal: AbortSignal },
  deps: { readonly now: () => number },
): Promise<ProbeState> {
  try {
    const document = parseProbeDocument(await ask(session, clusterId, options));
    const failure = firstFailure(document);
    const at = new Date(deps.now());
    return failure === undefined ? { kind: "passed", at } : { kind: "failed", at, reason: failure };
  } catch (error) {
    return { kind: "failed", at: new Date(deps.now()), reason: toConnectError(error).message };
  }
}

async function ask(
  session: Session,
  clusterId: ClusterId,
  options: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<string> {
  const timeout = AbortSignal.timeout(options.timeoutMs);
  const signal = AbortSignal.any([options.signal, timeout]);
  const correlationId = parseCorrelationId(randomBytes(8).toString("hex"));
  const stream = session.open({ cluster: clusterId, upstream: UPSTREAM_PROBE, correlationId });
  const onAbort = (): void => stream.reset("CC_TIMEOUT", "The agent did not answer the probe in time");
  signal.addEventListener("abort", onAbort, { once: true });
  stream.end();
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of stream) {
      if (!Buffer.isBuffer(chunk)) continue;
      bytes += chunk.length;
      if (bytes > MAX_PROBE_BYTES) throw new ConnectError("CC_PROTOCOL", "The agent's health answer is too long");
      chunks.push(chunk);
    }
    return UTF8.decode(Buffer.concat(chunks));
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
