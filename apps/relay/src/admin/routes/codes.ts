import { DONE, ENROLLMENT_CODE, MADE_CODE, pageAnswer } from "@cluster-connect/api";
import { mintEnrollmentCode } from "@cluster-connect/auth";
import { ConnectError, parseClusterId } from "@cluster-connect/protocol";
import { z } from "zod";
import { CLUSTER_ID, ID } from "../../http/fields.ts";
import { PAGE_QUERY, pageOf } from "../../http/paging.ts";
import { defineRoute, type Route } from "../../http/route.ts";
import { addEnrollmentCode, listEnrollmentCodes, revokeEnrollmentCode } from "../../store/queries/enrollment-codes.ts";
import type { AdminContext } from "../context.ts";

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
      answer: pageAnswer(ENROLLMENT_CODE),
      handle: async ({ query }) => {
        const { limit, after, cluster: clusterId } = query;
        const items = await listEnrollmentCodes(db, { limit: limit + 1, after, clusterId });
        return pageOf(items, ({ id }) => id, { limit });
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
      answer: MADE_CODE,
      handle: async ({ body, principal }) => {
        const { code, hash } = mintEnrollmentCode();
        const clusterId = parseClusterId(body.cluster);
        const at = now();
        const createdBy = principal.username;
        const expiresAt = new Date(at.getTime() + body.expiresSeconds * 1_000);
        await addEnrollmentCode(db, { clusterId, hash, expiresAt, maxUses: body.maxUses, createdBy: principal }, at);
        return {
          id: hash,
          cluster: clusterId,
          createdAt: at.toISOString(),
          createdBy,
          expiresAt: expiresAt.toISOString(),
          maxUses: body.maxUses,
          uses: 0,
          revokedAt: null,
          code,
        };
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
        const revoked = await revokeEnrollmentCode(db, params.code, { actor: principal, at: now() });
        if (!revoked) throw new ConnectError("CC_ID_INVALID", "No enrollment code has this id");
        return { done: true };
      },
    }),
  ];
}
