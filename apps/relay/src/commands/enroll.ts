import { mintEnrollmentCode } from "@cluster-connect/auth";
import type { ClusterId } from "@cluster-connect/protocol";
import { addEnrollmentCode } from "../store/queries/enrollment-codes.ts";
import type { Store } from "../store/store.ts";
import type { Output } from "./command-line.ts";

/** The command's output. The code is shown here once and kept nowhere. */
export interface EnrollResult {
  readonly stdout: string;
  readonly stderr: string;
}

/** Makes a one-time code for a cluster; works while the relay runs. */
export async function makeEnrollmentCode(
  store: Store,
  options: {
    readonly clusterId: ClusterId;
    readonly expiresMs: number;
    readonly maxUses: number;
    readonly output: Output;
  },
  now: Date,
): Promise<EnrollResult> {
  const { clusterId, expiresMs, maxUses, output } = options;
  const { code, hash } = mintEnrollmentCode();
  const expiresAt = new Date(now.getTime() + expiresMs);
  await addEnrollmentCode(store.db, { clusterId, hash, expiresAt, maxUses }, now);
  if (output === "json") {
    return { stdout: JSON.stringify({ code, clusterId, expiresAt: expiresAt.toISOString(), maxUses }), stderr: "" };
  }
  const who = maxUses === 1 ? "An agent joins once" : `${maxUses} agents join, each with a key of its own,`;
  const note = `${who} as cluster ${clusterId} with this code, until ${expiresAt.toISOString()}.`;
  return { stdout: code, stderr: note };
}
