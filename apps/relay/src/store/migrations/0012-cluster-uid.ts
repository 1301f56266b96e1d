import type { Transaction } from "kysely";
import type { Database } from "../schema.ts";

/** Which cluster a name stands for, by the cluster's own UID, and which others were told under it. */
export async function addClusterUid({ schema }: Transaction<Database>): Promise<void> {
  for (const column of COLUMNS) await schema.alterTable("clusters").addColumn(column, "text").execute();
}

const COLUMNS = [
  "cluster_uid",
  "cluster_uid_by",
  "pending_cluster_uid",
  "pending_cluster_uid_at",
  "refused_cluster_uids",
] as const;
