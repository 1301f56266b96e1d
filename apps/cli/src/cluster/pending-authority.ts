import type { Cluster } from "../relay/api.ts";
import { describeDuplicate } from "./duplicate.ts";

/** Why an authority that an agent announces does not count, and the next step. */
export interface PendingAuthority {
  readonly text: string;
  readonly hint: string;
}

/** The authority that waits for an administrator, as the relay tells callers; undefined when none does. */
export function describePending(cluster: Pick<Cluster, "id" | "pendingFingerprint">): PendingAuthority | undefined {
  const { id, pendingFingerprint: fingerprint } = cluster;
  if (fingerprint === null) return undefined;
  return {
    text: `An agent of ${id} announces another authority, SHA-256 ${fingerprint}. It waits for an administrator; the accepted one stays in force`,
    hint: `If ${id} was installed anew, its administrator compares that fingerprint there, then types \`cluster-connect admin clusters accept ${id} --fingerprint ${fingerprint}\`. If not, the agent's key may be stolen.`,
  };
}

/** An authority and another cluster that wait for an administrator, as lines of warnings. */
export function pendingLines(cluster: Pick<Cluster, "id" | "pendingFingerprint" | "pendingUid">): readonly string[] {
  return [describePending(cluster), describeDuplicate(cluster)].flatMap((waiting) =>
    waiting === undefined ? [] : [`warning: ${waiting.text}.`, `         ${waiting.hint}`],
  );
}
