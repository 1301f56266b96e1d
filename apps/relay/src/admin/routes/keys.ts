import { parseAgentPublicKey } from "@cluster-connect/auth";
import { ConnectError, parseClusterId, parseKeyId } from "@cluster-connect/protocol";
import { z } from "zod";
import { keyStateOf, revokeAgentKey } from "../../store/agent-keys.ts";
import { recordAudit } from "../../store/audit.ts";
import type { AdminContext } from "../context.ts";
import { CLUSTER_ID, DONE, ID } from "../fields.ts";
import { PAGE_QUERY, pageOf } from "../paging.ts";
import { defineRoute, type Route } from "../route.ts";

const STATE = z.enum(["pending", "active", "revoked"]);

const KEY = z.strictObject({
  id: z.string(),
  cluster: z.string(),
  createdAt: z.string(),
  addedBy: z.string(),
  state: STATE,
  activateBy: z.string().nullable(),
  lastUsedAt: z.string().nullable(),
  revokedAt: z.string().nullable(),
});

/** Agent keys: list, bring one's own, revoke. */
export function keyRoutes(context: AdminContext): readonly Route[] {
  const { db } = context.store;
  const now = (): Date => new Date(context.now());
  return [
    defineRoute({
      method: "GET",
      path: "/v1/admin/keys",
      access: "read",
      summary: "Lists agent keys by id, revoked ones too; a pending one is dropped unless an agent uses it in time.",
      query: z.strictObject({ ...PAGE_QUERY, cluster: CLUSTER_ID.optional() }),
      answer: z.strictObject({ items: z.array(KEY), next: z.string().nullable() }),
      handle: async ({ query }) => {
        let rows = db
          .selectFrom("agent_keys")
          .selectAll()
          .orderBy("key_id")
          .limit(query.limit + 1);
        rows = rows.where("key_id", ">", query.after ?? "");
        if (query.cluster !== undefined) rows = rows.where("cluster_id", "=", query.cluster);
        const items = (await rows.execute()).map((row) => ({
          ...{ id: row.key_id, cluster: row.cluster_id, createdAt: row.created_at, addedBy: row.added_by },
          ...{ lastUsedAt: row.last_used_at, revokedAt: row.revoked_at },
          ...{ state: keyStateOf(row), activateBy: row.activate_by },
        }));
        return pageOf(items, ({ id }) => id, { limit: query.limit });
      },
    }),
    defineRoute({
      method: "POST",
      path: "/v1/admin/keys",
      access: "write",
      summary: "Makes a public key known that was made elsewhere, for a cluster that is there.",
      body: z.strictObject({ cluster: CLUSTER_ID, publicKey: z.string().max(256) }),
      answer: KEY,
      handle: async ({ body, principal }) => {
        const { keyId, publicKey } = parseAgentPublicKey(body.publicKey);
        const clusterId = parseClusterId(body.cluster);
        const createdAt = now().toISOString();
        const addedBy = principal.username;
        await db.transaction().execute(async (transaction) => {
          const cluster = await transaction.selectFrom("clusters").select("id").where("id", "=", clusterId).execute();
          if (cluster.length === 0) throw new ConnectError("CC_CLUSTER_UNKNOWN", `There is no cluster ${clusterId}`);
          const taken = await transaction
            .selectFrom("agent_keys")
            .select("key_id")
            .where("key_id", "=", keyId)
            .execute();
          if (taken.length > 0) throw new ConnectError("CC_AGENT_KEY_REFUSED", "The key is known already");
          const values = { key_id: keyId, cluster_id: clusterId, public_key: publicKey, created_at: createdAt };
          await transaction
            .insertInto("agent_keys")
            .values({ ...values, added_by: addedBy })
            .execute();
          await recordAudit(transaction, { event: "agent.key.added", actor: addedBy, clusterId, at: now(), keyId });
        });
        const made = { id: keyId, cluster: clusterId, createdAt, addedBy, state: "active", activateBy: null };
        return { ...made, lastUsedAt: null, revokedAt: null };
      },
    }),
    defineRoute({
      method: "DELETE",
      path: "/v1/admin/keys/:key",
      access: "write",
      summary:
        "Revokes an agent key; its tunnels end within seconds. Says what it was, which keys that it had let in went with it, as nobody used them, and which are left.",
      params: z.strictObject({ key: ID }),
      answer: DONE.extend({ was: STATE, dropped: z.array(z.string()), left: z.array(z.string()) }),
      handle: async ({ params, principal }) => {
        const keyId = parseKeyId(params.key);
        const revoked = await revokeAgentKey(db, keyId, now(), principal.username);
        if (revoked === undefined) throw new ConnectError("CC_ID_INVALID", "No valid key has this id");
        const { was, dropped, left } = revoked;
        return { done: true, was, dropped, left };
      },
    }),
  ];
}
