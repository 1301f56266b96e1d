import { ConnectError } from "@cluster-connect/protocol";
import { z } from "zod";
import { recordAudit } from "../../store/audit.ts";
import type { AdminContext } from "../context.ts";
import { DONE, ID } from "../fields.ts";
import { PAGE_QUERY, pageOf } from "../paging.ts";
import { defineRoute, type Route } from "../route.ts";

const SESSION = z.strictObject({
  id: z.string(),
  relayId: z.string(),
  issuer: z.string(),
  subject: z.string(),
  username: z.string(),
  address: z.string().nullable(),
  software: z.string(),
  since: z.string(),
  expiresAt: z.string(),
  updatedAt: z.string(),
  upBytes: z.int(),
  downBytes: z.int(),
  clusters: z.record(
    z.string(),
    z.strictObject({ openStreams: z.int(), streams: z.int(), upBytes: z.int(), downBytes: z.int() }),
  ),
});

const USE = SESSION.pick({ upBytes: true, downBytes: true, clusters: true });

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
      answer: z.strictObject({ items: z.array(SESSION), next: z.string().nullable() }),
      handle: async ({ query }) => {
        let rows = db
          .selectFrom("sessions")
          .innerJoin("relays", "relays.id", "sessions.relay_id")
          .selectAll("sessions")
          .where("relays.lease_until", ">", now().toISOString())
          .where("sessions.id", ">", query.after ?? "")
          .orderBy("sessions.id")
          .limit(query.limit + 1);
        if (query.username !== undefined) rows = rows.where("sessions.username", "=", query.username);
        const items = (await rows.execute()).map((row) => ({
          ...{ id: row.id, relayId: row.relay_id, issuer: row.issuer, subject: row.subject, username: row.username },
          ...{ address: row.address, software: row.software, since: row.since, expiresAt: row.expires_at },
          ...{ updatedAt: row.updated_at, ...USE.parse(JSON.parse(row.clusters)) },
        }));
        return pageOf(items, ({ id }) => id, { limit: query.limit });
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
        const sessionId = params.session;
        await db.transaction().execute(async (transaction) => {
          const at = now();
          const row = await transaction
            .updateTable("sessions")
            .set({ end_requested_at: at.toISOString() })
            .where("id", "=", sessionId)
            .returning("username")
            .executeTakeFirst();
          if (row === undefined) throw new ConnectError("CC_ID_INVALID", `There is no session ${sessionId}`);
          const entry = { event: "session.end.requested", actor: principal.username, at, sessionId };
          await recordAudit(transaction, { ...entry, username: row.username });
        });
        return { done: true };
      },
    }),
  ];
}
