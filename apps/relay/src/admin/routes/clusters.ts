import { ADMIN_CLUSTER, pageAnswer, REMOVED_CLUSTER, SIGNATURES_FIELD } from "@cluster-connect/api";
import { ConnectError, parseClusterId } from "@cluster-connect/protocol";
import { z } from "zod";
import { isLabelKey, isLabelValue } from "../../grants/label-selector.ts";
import { CLUSTER_ID } from "../../http/fields.ts";
import { PAGE_QUERY } from "../../http/paging.ts";
import { defineRoute, type Route } from "../../http/route.ts";
import { changeCluster, makeCluster, removeCluster } from "../../store/queries/clusters.ts";
import { type ClusterRecord, readClusterRecords } from "../cluster-records.ts";
import type { AdminContext } from "../context.ts";

const MAX_LABELS = 64;

const LABELS = z
  .record(
    z.string().refine(isLabelKey, "expected a label key as in Kubernetes"),
    z.string().refine(isLabelValue, "expected a label value as in Kubernetes"),
  )
  .refine((labels) => Object.keys(labels).length <= MAX_LABELS, `expected at most ${MAX_LABELS} labels`);

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
      answer: pageAnswer(ADMIN_CLUSTER),
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
      answer: ADMIN_CLUSTER,
      handle: async ({ params }) => await one(params.cluster),
    }),
    defineRoute({
      method: "POST",
      path: "/v1/admin/clusters",
      access: "write",
      summary: "Makes a cluster that agents enroll in later; one that is there stays as it is, but for its labels.",
      body: z.strictObject({ id: CLUSTER_ID, labels: LABELS.default({}) }),
      answer: ADMIN_CLUSTER,
      handle: async ({ body, principal }) => {
        const by = { actor: principal, at: now() };
        await makeCluster(context.store.db, { clusterId: parseClusterId(body.id), labels: body.labels }, by);
        await context.grants.refresh();
        return await one(body.id);
      },
    }),
    defineRoute({
      method: "PATCH",
      path: "/v1/admin/clusters/:cluster",
      access: "write",
      summary:
        "Replaces a cluster's labels, disables it (its tunnels and streams end within seconds) or enables it; keeps what a fleet key signed of its authorities.",
      params: z.strictObject({ cluster: CLUSTER_ID }),
      body: z.strictObject({
        labels: LABELS.optional(),
        disabled: z.boolean().optional(),
        authoritySignatures: SIGNATURES_FIELD.optional(),
      }),
      answer: ADMIN_CLUSTER,
      handle: async ({ params, body, principal }) => {
        await one(params.cluster);
        const by = { actor: principal, at: now() };
        await changeCluster(context.store.db, parseClusterId(params.cluster), body, by);
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
      answer: REMOVED_CLUSTER,
      handle: async ({ params, principal }) => {
        const by = { actor: principal, at: now() };
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
