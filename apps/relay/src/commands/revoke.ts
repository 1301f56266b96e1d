import type { KeyId } from "@cluster-connect/protocol";
import type { Revocation } from "../store/queries/agent-keys.ts";
import type { Output } from "./command-line.ts";

/** Tells an operator the effects of a key's revocation. */
export function describeRevocation(
  { clusterId, was, dropped, left }: Revocation,
  { keyId, output }: { readonly keyId: KeyId; readonly output: Output },
): string {
  if (output === "json") return JSON.stringify({ keyId, clusterId, was, dropped, left });
  const lines = [`The key is revoked; a running relay closes its tunnels to cluster ${clusterId} within seconds.`];
  if (was === "pending") lines.push("It was waiting for its first use.");
  if (dropped.length > 0) lines.push(`Keys that it let in and nobody used went with it: ${dropped.join(", ")}`);
  if (left.length > 0) lines.push(`Keys that it let in and that are used stay valid: ${left.join(", ")}`);
  return lines.join("\n");
}
