import { ConnectError } from "../errors.ts";

declare const brand: unique symbol;
/** UID of a cluster's namespace `kube-system`: it tells two clusters apart that have the same key and the same name. */
export type ClusterUid = string & { readonly [brand]: "ClusterUid" };

/** Kubernetes makes UUIDs of 36 characters; other servers of its API make others. */
export const MAX_CLUSTER_UID_CHARACTERS = 64;

const CLUSTER_UID = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

/** @throws ConnectError `CC_ID_INVALID` unless the value has 1 to 64 characters of A-Z, a-z, 0-9, dot, - and _. */
export function parseClusterUid(value: unknown): ClusterUid {
  if (isClusterUid(value)) return value;
  const most = MAX_CLUSTER_UID_CHARACTERS;
  throw new ConnectError("CC_ID_INVALID", `A cluster's UID has 1 to ${most} characters of A-Z, a-z, 0-9, dot, - and _`);
}

/** Whether a text that was kept, in a file or a store, is a UID still. */
export function isClusterUid(value: unknown): value is ClusterUid {
  return typeof value === "string" && value.length <= MAX_CLUSTER_UID_CHARACTERS && CLUSTER_UID.test(value);
}

/** The file in which an auth proxy tells its agent the cluster's UID, beside the file of the authorities. */
export function clusterUidFile(authoritiesFile: string): string {
  return `${authoritiesFile}.cluster-uid`;
}
