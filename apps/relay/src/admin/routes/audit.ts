import { z } from "zod";
import { readAuditEntries } from "../../audit/entries.ts";
import type { AdminContext } from "../context.ts";
import { CLUSTER_ID } from "../fields.ts";
import { PAGE_QUERY } from "../paging.ts";
import { defineRoute, type Route } from "../route.ts";

const ENTRY = z.strictObject({
  sequence: z.int(),
  at: z.string(),
  event: z.string(),
  actor: z.string(),
  cluster: z.string().nullable(),
  detail: z.record(z.string(), z.unknown()),
  previousHash: z.string(),
  hash: z.string(),
});

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
        cluster: CLUSTER_ID.optional(),
      }),
      answer: z.strictObject({ items: z.array(ENTRY), next: z.string().nullable() }),
      handle: async ({ query }) => {
        const { limit, before, event, actor, cluster: clusterId } = query;
        const found = await readAuditEntries(context.store.db, { limit: limit + 1, before, event, actor, clusterId });
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
