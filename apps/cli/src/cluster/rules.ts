import { askCluster, type ClusterEnd, fieldOf, type OpenClusterStream, statusError } from "./request.ts";

/** API groups that a cluster opens to every caller it knows: questions about themselves. */
const FOR_EVERYBODY = new Set(["authentication.k8s.io", "authorization.k8s.io"]);

/**
 * Counts the caller's permissions in a namespace, without those that every caller has.
 *
 * @throws ConnectError when the cluster does not answer that.
 */
export async function countRules(
  end: ClusterEnd,
  namespace: string,
  options: { readonly signal: AbortSignal },
  open: OpenClusterStream,
): Promise<number> {
  const path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
  const body = { apiVersion: "authorization.k8s.io/v1", kind: "SelfSubjectRulesReview", spec: { namespace } };
  const answer = await askCluster(end, { path, body }, options, open);
  if (answer.status !== 201) throw statusError(end.cluster, answer);
  const rules = fieldOf(fieldOf(answer.body, "status"), "resourceRules");
  return Array.isArray(rules) ? rules.filter((rule) => !isForEverybody(rule)).length : 0;
}

function isForEverybody(rule: unknown): boolean {
  const groups = fieldOf(rule, "apiGroups");
  return Array.isArray(groups) && groups.length > 0 && groups.every((group) => FOR_EVERYBODY.has(group));
}
