import type { ClusterId, ClusterUid } from "@cluster-connect/protocol";
import { z } from "zod";
import {
  CLUSTER_ID_FIELD,
  CLUSTER_UID_FIELD,
  FINGERPRINT_FIELD,
  SERVER_NAME_FIELD,
  SIGNATURES_FIELD,
} from "./fields.ts";

/** How a cluster is, as callers see it. `connected` needs an answer from the cluster's own kube-apiserver. */
export type ClusterState = "connected" | "degraded" | "connecting" | "offline";

/** One cluster in the answer of `GET /v1/clusters`. Times are ISO 8601. */
export interface ListedCluster {
  readonly id: ClusterId;
  readonly status: ClusterState;
  /** When it came into that state, where known. */
  readonly since: string | null;
  readonly lastSeenAt: string | null;
  readonly lastSeenSeconds: number | null;
  /** Which hop is missing, when degraded. */
  readonly reason: string | null;
  readonly agents: readonly { readonly instanceId: string; readonly since: string }[];
  /** PEM. */
  readonly certificateAuthorities: string | null;
  /** A fleet key's signatures over the authorities, separated by blanks; a reader verifies each. */
  readonly authoritySignatures: string | null;
  /** Of the authorities, for the eye. A reader computes it from them and believes no other. */
  readonly fingerprint: string | null;
  /** Of authorities that an agent announced later; they count once an administrator has accepted them. */
  readonly pendingFingerprint: string | null;
  /** UID of another cluster that claims this one's name; it is refused until an administrator has decided. */
  readonly pendingUid: ClusterUid | null;
  /** The name that TLS through a stream to this cluster is verified against. */
  readonly serverName: string;
}

/** {@link ListedCluster}. */
const LISTED_CLUSTER = z.object({
  id: CLUSTER_ID_FIELD,
  status: z.enum(["connected", "degraded", "connecting", "offline"]),
  since: z.string().nullable(),
  lastSeenAt: z.string().nullable(),
  lastSeenSeconds: z.int().nullable(),
  reason: z.string().nullable(),
  agents: z.array(z.object({ instanceId: z.string(), since: z.string() })),
  certificateAuthorities: z.string().nullable(),
  authoritySignatures: SIGNATURES_FIELD.nullable(),
  fingerprint: z.string().nullable(),
  pendingFingerprint: FINGERPRINT_FIELD.nullable(),
  pendingUid: CLUSTER_UID_FIELD.nullable(),
  serverName: SERVER_NAME_FIELD,
}) satisfies z.ZodType<ListedCluster>;

/** Answer of `GET /v1/clusters`. */
export const CLUSTERS_ANSWER = z.object({ clusters: z.array(LISTED_CLUSTER) });
