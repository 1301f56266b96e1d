import { mintEnrollmentCode } from "@cluster-connect/auth";
import { ConnectError, parseClusterId } from "@cluster-connect/protocol";
import { z } from "zod";
import { recordAudit } from "../../store/audit.ts";
import type { AdminContext } from "../context.ts";
import { CLUSTER_ID, DONE, ID } from "../fields.ts";
import { PAGE_QUERY, pageOf } from "../paging.ts";
import { defineRoute, type Route } from "../route.ts";

const CODE = z.strictObject({
  id: z.string(),
  cluster: z.string(),
  createdAt: z.string(),
  createdBy: z.string(),
  expiresAt: z.string(),
  maxUses: z.int(),
  uses: z.int(),
  revokedAt: z.string().nullable(),
});

const MAX_SECONDS = 366 * 86_400;

/** One-time codes: list, make, revoke. A code is shown once, when it is made; its id is its hash. */
export function codeRoutes(context: AdminContext): readonly Route[] {
  const { db } = context.store;
  const now = (): Date => new Date(context.now());
  return [
    defineRoute({
      method: "GET",
      path: "/v1/admin/codes",
      access: "read",
      summary: "Lists enrollment codes by id; the codes themselves are kept nowhere.",
      query: z.strictObject({ ...PAGE_QUERY, cluster: CLUSTER_ID.optional() }),
      answer: z.strictObject({ items: z.array(CODE), next: z.string().nullable() }),
      handle: async ({ query }) => {
        let rows = db
          .selectFrom("enrollment_codes")
          .selectAll()
          .orderBy("code_hash")
          .limit(query.limit + 1);
        rows = rows.where("code_hash", ">", query.after ?? "");
        if (query.cluster !== undefined) rows = rows.where("cluster_id", "=", query.cluster);
        const items = (await rows.execute()).map((row) => ({
          ...{ id: row.code_hash, cluster: row.cluster_id, createdAt: row.created_at, createdBy: row.created_by },
          ...{ expiresAt: row.expires_at, maxUses: row.max_uses, uses: row.uses, revokedAt: row.revoked_at },
        }));
        return pageOf(items, ({ id }) => id, { limit: query.limit });
      },
    }),
    defineRoute({
      method: "POST",
      path: "/v1/admin/codes",
      access: "write",
      summary: "Makes a code with which agents join as a cluster, which is made when it is not there.",
      body: z.strictObject({
        cluster: CLUSTER_ID,
        expiresSeconds: z.int().min(1).max(MAX_SECONDS).default(3_600),
        maxUses: z.int().min(1).max(1_000).default(1),
      }),
      answer: CODE.extend({ code: z.string() }),
      handle: async ({ body, principal }) => {
        const { code, hash } = mintEnrollmentCode();
        const clusterId = parseClusterId(body.cluster);
        const at = now();
        const createdBy = principal.username;
        const expiresAt = new Date(at.getTime() + body.expiresSeconds * 1_000).toISOString();
        const created_at = at.toISOString();
        await db.transaction().execute(async (transaction) => {
          await transaction
            .insertInto("clusters")
            .values({ id: clusterId, created_at })
            .onConflict((conflict) => conflict.column("id").doNothing())
            .execute();
          await transaction
            .insertInto("enrollment_codes")
            .values({
              ...{ code_hash: hash, cluster_id: clusterId, created_at, created_by: createdBy },
              ...{ expires_at: expiresAt, max_uses: body.maxUses },
            })
            .execute();
          const details = { codeId: hash, expiresAt, maxUses: body.maxUses };
          await recordAudit(transaction, {
            event: "enrollment.code.made",
            actor: createdBy,
            clusterId,
            at,
            ...details,
          });
        });
        const made = { id: hash, cluster: clusterId, createdAt: created_at, createdBy, expiresAt };
        return { ...made, maxUses: body.maxUses, uses: 0, revokedAt: null, code };
      },
    }),
    defineRoute({
      method: "DELETE",
      path: "/v1/admin/codes/:code",
      access: "write",
      summary: "Makes an enrollment code worthless, by its id.",
      params: z.strictObject({ code: ID }),
      answer: DONE,
      handle: async ({ params, principal }) => {
        const id = params.code;
        await db.transaction().execute(async (transaction) => {
          const at = now();
          const row = await transaction
            .updateTable("enrollment_codes")
            .set({ revoked_at: at.toISOString() })
            .where("code_hash", "=", id)
            .where("revoked_at", "is", null)
            .returning("cluster_id")
            .executeTakeFirst();
          if (row === undefined) throw new ConnectError("CC_ID_INVALID", "No enrollment code has this id");
          const clusterId = parseClusterId(row.cluster_id);
          const entry = { event: "enrollment.code.revoked", actor: principal.username, clusterId, at, codeId: id };
          await recordAudit(transaction, entry);
        });
        return { done: true };
      },
    }),
  ];
}
