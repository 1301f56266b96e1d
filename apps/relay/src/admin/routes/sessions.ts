import { CALLER_SESSION, DONE, pageAnswer } from "@cluster-connect/api";
import { ConnectError } from "@cluster-connect/protocol";
import { z } from "zod";
import { ID } from "../../http/fields.ts";
import { PAGE_QUERY, pageOf } from "../../http/paging.ts";
import { defineRoute, type Route } from "../../http/route.ts";
import { listSessionRows, requestSessionEnd } from "../../store/queries/sessions.ts";
import type { AdminContext } from "../context.ts";

const USE = CALLER_SESSION.pick({ upBytes: true, downBytes: true, clusters: true });

/** Callers' sessions at any relay: list and end. */
export function sessionRoutes(context: AdminContext): readonly Route[] {
  const { db } = context.store;
  const now = (): Date => new Date(context.now());
  return [
    defineRoute({
      method: "GET",
      path: "/v1/admin/sessions",
      access: "read",
      summary:
        "Lists callers' sessions by id: who, since when, bytes so far, and by cluster streams and the bytes of those that have ended.",
      query: z.strictObject({ ...PAGE_QUERY, username: z.string().max(1_024).optional() }),
      answer: pageAnswer(CALLER_SESSION),
      handle: async ({ query }) => {
        const { limit, after, username } = query;
        const rows = await listSessionRows(db, { limit: limit + 1, after, username }, now());
        const items = rows.map((row) => ({
          id: row.id,
          relayId: row.relay_id,
          issuer: row.issuer,
          subject: row.subject,
          username: row.username,
          address: row.address,
          software: row.software,
          since: row.since,
          expiresAt: row.expires_at,
          updatedAt: row.updated_at,
          ...USE.parse(JSON.parse(row.clusters)),
        }));
        return pageOf(items, ({ id }) => id, { limit });
      },
    }),
    defineRoute({
      method: "DELETE",
      path: "/v1/admin/sessions/:session",
      access: "write",
      summary: "Ends a caller's session; its relay does so within seconds, and the caller is told why.",
      params: z.strictObject({ session: ID }),
      answer: DONE,
      handle: async ({ params, principal }) => {
        const { session } = params;
        const found = await requestSessionEnd(db, session, { actor: principal, at: now() });
        if (!found) throw new ConnectError("CC_ID_INVALID", `There is no session ${session}`);
        return { done: true };
      },
    }),
  ];
}
