import { AGENT_KEY, pageAnswer, REVOKED_KEY } from "@cluster-connect/api";
import { parseAgentPublicKey } from "@cluster-connect/auth";
import { ConnectError, parseClusterId, parseKeyId } from "@cluster-connect/protocol";
import { z } from "zod";
import { CLUSTER_ID, ID } from "../../http/fields.ts";
import { PAGE_QUERY, pageOf } from "../../http/paging.ts";
import { defineRoute, type Route } from "../../http/route.ts";
import { addAgentKey, listKeyRecords, revokeAgentKey } from "../../store/queries/agent-keys.ts";
import type { AdminContext } from "../context.ts";

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
      answer: pageAnswer(AGENT_KEY),
      handle: async ({ query }) => {
        const { limit, after, cluster: clusterId } = query;
        const items = await listKeyRecords(db, { limit: limit + 1, after, clusterId });
        return pageOf(items, ({ id }) => id, { limit });
      },
    }),
    defineRoute({
      method: "POST",
      path: "/v1/admin/keys",
      access: "write",
      summary: "Makes a public key known that was made elsewhere, for a cluster that is there.",
      body: z.strictObject({ cluster: CLUSTER_ID, publicKey: z.string().max(256) }),
      answer: AGENT_KEY,
      handle: async ({ body, principal }) => {
        const { keyId, publicKey } = parseAgentPublicKey(body.publicKey);
        const clusterId = parseClusterId(body.cluster);
        const at = now();
        const addedBy = principal.username;
        await addAgentKey(db, { keyId, clusterId, publicKey }, { actor: principal, at });
        return {
          id: keyId,
          cluster: clusterId,
          createdAt: at.toISOString(),
          addedBy,
          state: "active",
          activateBy: null,
          lastUsedAt: null,
          revokedAt: null,
        };
      },
    }),
    defineRoute({
      method: "DELETE",
      path: "/v1/admin/keys/:key",
      access: "write",
      summary:
        "Revokes an agent key; its tunnels end within seconds. Says what it was, which keys that it had let in went with it, as nobody used them, and which are left.",
      params: z.strictObject({ key: ID }),
      answer: REVOKED_KEY,
      handle: async ({ params, principal }) => {
        const keyId = parseKeyId(params.key);
        const revoked = await revokeAgentKey(db, keyId, now(), principal);
        if (revoked === undefined) throw new ConnectError("CC_ID_INVALID", "No valid key has this id");
        const { was, dropped, left } = revoked;
        return { done: true, was, dropped, left };
      },
    }),
  ];
}
