import type { KeyId } from "@cluster-connect/protocol";
import type { Output } from "../command-line.ts";
import type { Revocation } from "../store/agent-keys.ts";

/** What an operator has to know about a key that was revoked. */
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
