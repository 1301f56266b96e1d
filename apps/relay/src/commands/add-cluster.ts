import { createPublicKey } from "node:crypto";
import { type AgentPublicKey, parseAgentPublicKey } from "@cluster-connect/auth";
import { type ClusterId, ConnectError } from "@cluster-connect/protocol";
import { readSettingFile } from "@cluster-connect/service";
import { addClusterWithKey } from "../store/queries/agent-keys.ts";
import type { Store } from "../store/store.ts";
import type { Output } from "./command-line.ts";

/**
 * Adds a cluster, and the key that its agent has already, so that neither needs a one-time code.
 *
 * @throws ConnectError `CC_FILE_MISSING`, or `CC_FILE_UNREADABLE` also for a file without an Ed25519 key in PEM;
 *   `CC_AGENT_KEY_REFUSED` for a key that is revoked or another cluster's.
 */
export async function addCluster(
  store: Store,
  options: { readonly clusterId: ClusterId; readonly publicKeyFile: string | undefined; readonly output: Output },
  now: Date,
): Promise<string> {
  const { clusterId, publicKeyFile, output } = options;
  const key =
    publicKeyFile === undefined
      ? undefined
      : parsePem(await readSettingFile("--public-key", publicKeyFile), publicKeyFile);
  await addClusterWithKey(store.db, { clusterId, key }, now);
  if (output === "json") return JSON.stringify({ clusterId, keyId: key?.keyId ?? null });
  if (key === undefined) return `Cluster ${clusterId} is known.`;
  return `An agent of cluster ${clusterId} may use the key ${key.keyId}.`;
}

const HINT = "`openssl pkey -in agent-key.pem -pubout` prints the public key of a private one.";

function parsePem(text: string, file: string): AgentPublicKey {
  // A private key would be taken for its public half.
  if (!text.includes("PRIVATE")) {
    try {
      return parseAgentPublicKey(createPublicKey(text).export({ type: "spki", format: "der" }).toString("base64url"));
    } catch (cause) {
      throw new ConnectError("CC_FILE_UNREADABLE", `${file} holds no Ed25519 public key in PEM`, { cause, hint: HINT });
    }
  }
  throw new ConnectError("CC_FILE_UNREADABLE", `${file} holds a private key; give the public one alone`, {
    hint: HINT,
  });
}
