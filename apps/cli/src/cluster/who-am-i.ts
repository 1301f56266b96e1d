import { askCluster, type ClusterEnd, fieldOf, type OpenClusterStream, statusError } from "./request.ts";

/** The caller's identity as a cluster sees it. */
export interface ClusterIdentity {
  readonly username: string;
  readonly groups: readonly string[];
  readonly uid: string | undefined;
  readonly extra: Readonly<Record<string, readonly string[]>>;
}

/**
 * Asks a cluster for the caller's identity, by a SelfSubjectReview.
 *
 * @throws ConnectError as `askCluster`, and for any other answer of the cluster.
 */
export async function askWhoIAm(
  end: ClusterEnd,
  options: { readonly signal: AbortSignal },
  open: OpenClusterStream,
): Promise<ClusterIdentity> {
  const body = { apiVersion: "authentication.k8s.io/v1", kind: "SelfSubjectReview" };
  const path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
  const answer = await askCluster(end, { path, body }, options, open);
  if (answer.status !== 201) throw statusError(end.cluster, answer);
  const user = fieldOf(fieldOf(answer.body, "status"), "userInfo");
  const uid = fieldOf(user, "uid");
  return {
    username: printable(fieldOf(user, "username")),
    groups: list(fieldOf(user, "groups")),
    uid: uid === undefined ? undefined : printable(uid),
    extra: Object.fromEntries(
      Object.entries(Object(fieldOf(user, "extra"))).map(([key, values]) => [printable(key), list(values)]),
    ),
  };
}

function list(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.map(printable) : [];
}

function printable(value: unknown): string {
  return typeof value === "string" ? value.replaceAll(/\p{Cc}/gu, "?").slice(0, 500) : "?";
}
