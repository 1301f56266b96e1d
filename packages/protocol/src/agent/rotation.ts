import type { ClusterId, KeyId } from "../ids.ts";

/**
 * The bytes that an agent signs with its former and with its new key. With both signatures the relay takes the new key.
 * The bytes are a fixed label, the authority of the relay, cluster, both key ids and the moment (ISO 8601), one a line.
 * Sending it again changes nothing: the new key is known by then.
 */
export function keyRotationInput(parts: {
  readonly authority: string;
  readonly clusterId: ClusterId;
  readonly keyId: KeyId;
  readonly newKeyId: KeyId;
  readonly at: string;
}): Uint8Array {
  const { authority, clusterId, keyId, newKeyId, at } = parts;
  return new TextEncoder().encode(["clusterconnect.v1 rotate", authority, clusterId, keyId, newKeyId, at].join("\n"));
}
