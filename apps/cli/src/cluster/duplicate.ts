import type { Cluster } from "../relay/api.ts";

/** Another cluster that claims a cluster's name, and the next step. */
export interface DuplicateCluster {
  readonly text: string;
  readonly hint: string;
}

/** The other cluster under this one's name, as the relay tells callers; undefined when there is none. */
export function describeDuplicate({
  id,
  pendingUid: uid,
}: Pick<Cluster, "id" | "pendingUid">): DuplicateCluster | undefined {
  if (uid === null) return undefined;
  return {
    text: `Another cluster, with the UID ${uid}, claims the name ${id} and is refused. It waits for an administrator; you reach the one that was there before`,
    hint: `It may be a restored backup or a copy. An administrator who wants it in place of the former types \`cluster-connect admin clusters accept ${id} --uid ${uid}\`, else \`cluster-connect admin clusters refuse ${id} --uid ${uid}\`.`,
  };
}
