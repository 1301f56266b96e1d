import { AUDIT_ENTRY, pageAnswer } from "@cluster-connect/api";
import { z } from "zod";
import { CLUSTER_ID } from "../../http/fields.ts";
import { PAGE_QUERY } from "../../http/paging.ts";
import { defineRoute, type Route } from "../../http/route.ts";
import { readAuditEntries } from "../../store/queries/audit-entries.ts";
import type { AdminContext } from "../context.ts";

const DETAIL = z.record(z.string(), z.unknown());

/** The audit, newest entry first. */
export function auditRoutes(context: AdminContext): readonly Route[] {
  return [
    defineRoute({
      method: "GET",
      path: "/v1/admin/audit",
      access: "read",
      summary: "Lists audit entries, the newest first; `next` goes into `before`.",
      query: z.strictObject({
        limit: PAGE_QUERY.limit,
        before: z.coerce.number().int().min(1).optional(),
        event: z.string().max(128).optional(),
        actor: z.string().max(1_024).optional(),
        issuer: z.string().max(2_048).optional(),
        subject: z.string().max(1_024).optional(),
        cluster: CLUSTER_ID.optional(),
      }),
      answer: pageAnswer(AUDIT_ENTRY),
      handle: async ({ query }) => {
        const { limit, cluster: clusterId, ...filter } = query;
        const found = await readAuditEntries(context.store.db, { ...filter, clusterId, limit: limit + 1 });
        const page = found.slice(0, limit);
        const items = page.map(({ chain: _, clusterId: cluster, detail, ...entry }) => ({
          ...entry,
          cluster,
          detail: DETAIL.parse(JSON.parse(detail)),
        }));
        return { items, next: found.length > limit ? String(page.at(-1)?.sequence) : null };
      },
    }),
  ];
}
