import { askCluster, type ClusterEnd, fieldOf, type OpenClusterStream, statusError } from "./request.ts";

export interface ReadyAnswer {
  /** Of the kube-apiserver; undefined where the caller may not see it, which still proves the way. */
  readonly version: string | undefined;
  readonly durationMs: number;
}

/**
 * Asks the kube-apiserver for its version: the way is open when any answer of its own comes back.
 *
 * @throws ConnectError that names the hop which is missing, or what the cluster does not like about the caller.
 */
export async function checkReady(
  end: ClusterEnd,
  options: { readonly signal: AbortSignal },
  open: OpenClusterStream,
): Promise<ReadyAnswer> {
  const answer = await askCluster(end, { path: "/version" }, options, open);
  const { status, body, durationMs } = answer;
  if (status === 200) return { version: versionOf(body), durationMs };
  if (status === 403) return { version: undefined, durationMs };
  throw statusError(end.cluster, answer);
}

function versionOf(body: unknown): string | undefined {
  const version = fieldOf(body, "gitVersion");
  return typeof version === "string" && /^[\w.+-]{1,64}$/.test(version) ? version : undefined;
}
