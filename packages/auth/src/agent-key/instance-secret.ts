import { createHash } from "node:crypto";
import { type InstanceId, parseInstanceId, type Secret } from "@cluster-connect/protocol";

const ID_BYTES = 16;

/**
 * The instance id of the process that made this secret. The id is public; the secret shows that its bearer took the
 * place of that process, since only its state folder has it.
 */
export function instanceIdOf(secret: Secret): InstanceId {
  const digest = createHash("sha256").update("clusterconnect.v1 instance\n").update(secret).digest();
  return parseInstanceId(digest.subarray(0, ID_BYTES).toString("base64url"));
}
