import { ConnectError, parseClusterId } from "@cluster-connect/protocol";
import { z } from "zod";
import { isLabelKey, isLabelValue } from "../../grants/label-selector.ts";
import { recordAudit } from "../../store/audit.ts";
import { removeCluster } from "../../store/clusters.ts";
import { type ClusterRecord, readClusterRecords } from "../cluster-records.ts";
import type { AdminContext } from "../context.ts";
import { CLUSTER_ID, DONE } from "../fields.ts";
import { PAGE_QUERY } from "../paging.ts";
import { defineRoute, type Route } from "../route.ts";

const MAX_LABELS = 64;

const LABELS = z
  .record(
    z.string().refine(isLabelKey, "expected a label key as in Kubernetes"),
    z.string().refine(isLabelValue, "expected a label value as in Kubernetes"),
  )
  .refine((labels) => Object.keys(labels).length <= MAX_LABELS, `expected at most ${MAX_LABELS} labels`);

const CLUSTER = z.strictObject({
  id: z.string(),
  labels: z.record(z.string(), z.string()),
  disabled: z.boolean(),
  status: z.enum(["Connecting", "Connected", "Offline", "Expired"]),
  reason: z.string().nullable(),
  createdAt: z.string(),
  lastSeenAt: z.string().nullable(),
  lastSeenSeconds: z.int().nullable(),
  validKeys: z.int(),
  agents: z.array(
    z.strictObject({
      instanceId: z.string(),
      relayId: z.string(),
      keyId: z.string(),
      since: z.string(),
      probe: z.string(),
    }),
  ),
});

/** Clusters: list, look at, make in advance, label, disable, remove. */
export function clusterRoutes(context: AdminContext): readonly Route[] {
  const now = (): Date => new Date(context.now());
  const one = async (id: string): Promise<ClusterRecord> => {
    const found = await readClusterRecords(context, now(), { limit: 1, id });
    if (found[0] !== undefined) return found[0];
    throw unknownCluster(id);
  };
  return [
    defineRoute({
      method: "GET",
      path: "/v1/admin/clusters",
      access: "read",
      summary: "Lists clusters by id, with status, labels and agents.",
      query: z.strictObject(PAGE_QUERY),
      answer: z.strictObject({ items: z.array(CLUSTER), next: z.string().nullable() }),
      handle: async ({ query }) => {
        const { limit, after } = query;
        const items = await readClusterRecords(context, now(), { limit: limit + 1, after });
        const page = items.slice(0, limit);
        return { items: page, next: items.length > limit ? (page.at(-1)?.id ?? null) : null };
      },
    }),
    defineRoute({
      method: "GET",
      path: "/v1/admin/clusters/:cluster",
      access: "read",
      summary: "Shows one cluster.",
      params: z.strictObject({ cluster: CLUSTER_ID }),
      answer: CLUSTER,
      handle: async ({ params }) => await one(params.cluster),
    }),
    defineRoute({
      method: "POST",
      path: "/v1/admin/clusters",
      access: "write",
      summary: "Makes a cluster that agents enroll in later; one that is there stays as it is, but for its labels.",
      body: z.strictObject({ id: CLUSTER_ID, labels: LABELS.default({}) }),
      answer: CLUSTER,
      handle: async ({ body, principal }) => {
        const labels = JSON.stringify(body.labels);
        await context.store.db.transaction().execute(async (transaction) => {
          await transaction
            .insertInto("clusters")
            .values({ id: body.id, created_at: now().toISOString(), labels })
            .onConflict((conflict) => conflict.column("id").doUpdateSet({ labels }))
            .execute();
          const clusterId = parseClusterId(body.id);
          const entry = { event: "cluster.made", actor: principal.username, clusterId, at: now(), labels: body.labels };
          await recordAudit(transaction, entry);
        });
        await context.grants.refresh();
        return await one(body.id);
      },
    }),
    defineRoute({
      method: "PATCH",
      path: "/v1/admin/clusters/:cluster",
      access: "write",
      summary: "Replaces a cluster's labels, disables it (its tunnels and streams end within seconds) or enables it.",
      params: z.strictObject({ cluster: CLUSTER_ID }),
      body: z.strictObject({ labels: LABELS.optional(), disabled: z.boolean().optional() }),
      answer: CLUSTER,
      handle: async ({ params, body, principal }) => {
        const { labels, disabled } = body;
        await one(params.cluster);
        await context.store.db.transaction().execute(async (transaction) => {
          const at = now();
          await transaction
            .updateTable("clusters")
            .set({
              id: params.cluster,
              ...(labels === undefined ? {} : { labels: JSON.stringify(labels) }),
              ...(disabled === undefined ? {} : { disabled_at: disabled ? at.toISOString() : null }),
            })
            .where("id", "=", params.cluster)
            .execute();
          const clusterId = parseClusterId(params.cluster);
          await recordAudit(transaction, {
            event: "cluster.changed",
            actor: principal.username,
            clusterId,
            at,
            ...body,
          });
        });
        await context.grants.refresh();
        return await one(params.cluster);
      },
    }),
    defineRoute({
      method: "DELETE",
      path: "/v1/admin/clusters/:cluster",
      access: "write",
      summary:
        "Forgets a cluster with its keys and codes; its tunnels and streams end within seconds. Grants that name it stay. Says how many keys and codes went.",
      params: z.strictObject({ cluster: CLUSTER_ID }),
      answer: DONE.extend({ keys: z.int(), codes: z.int() }),
      handle: async ({ params, principal }) => {
        const by = { actor: principal.username, at: now() };
        const removed = await removeCluster(context.store, parseClusterId(params.cluster), by);
        if (removed === undefined) throw unknownCluster(params.cluster);
        await context.grants.refresh();
        return { done: true, ...removed };
      },
    }),
  ];
}

function unknownCluster(id: string): ConnectError {
  return new ConnectError("CC_CLUSTER_UNKNOWN", `There is no cluster ${id}`);
}
