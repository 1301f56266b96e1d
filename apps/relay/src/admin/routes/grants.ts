import { ACCESS_DECISION, DONE, GRANT, pageAnswer } from "@cluster-connect/api";
import type { Principal } from "@cluster-connect/auth";
import { ConnectError } from "@cluster-connect/protocol";
import { z } from "zod";
import type { NearMiss } from "../../grants/decide.ts";
import { compileGrant, GRANT_SCHEMA, type Grant } from "../../grants/grant.ts";
import { CLUSTER_ID, ID, UPSTREAM } from "../../http/fields.ts";
import { PAGE_QUERY, pageOf } from "../../http/paging.ts";
import { defineRoute, type Route } from "../../http/route.ts";
import { addGrantRow, removeGrantRow } from "../../store/queries/grants.ts";
import type { AdminContext } from "../context.ts";

const NAMES = z.array(z.string());

const CALLER = z.strictObject({
  username: z.string().min(1),
  groups: NAMES.default([]),
  issuer: z.string().default(""),
  subject: z.string().default(""),
  claims: z.record(z.string(), z.unknown()).default({}),
});

/** Grants: list those of every source, add and remove those of the API, ask about their meaning for a caller. */
export function grantRoutes(context: AdminContext): readonly Route[] {
  const { grants, store } = context;
  const now = (): Date => new Date(context.now());
  return [
    defineRoute({
      method: "GET",
      path: "/v1/admin/grants",
      access: "read",
      summary: "Lists grants by id, of settings, files and the API.",
      query: z.strictObject(PAGE_QUERY),
      answer: pageAnswer(GRANT),
      handle: async ({ query }) => {
        await grants.refresh();
        const all = grants.grants().toSorted((a, b) => (a.id < b.id ? -1 : 1));
        const { items, next } = pageOf(all, ({ id }) => id, query);
        return { items: items.map(grantAnswer), next };
      },
    }),
    defineRoute({
      method: "POST",
      path: "/v1/admin/grants",
      access: "write",
      summary: "Adds a grant.",
      body: GRANT_SCHEMA,
      answer: GRANT,
      handle: async ({ body, principal }) => {
        const grant = compileGrant(context.ids.grantId(), "api", body);
        await addGrantRow(store.db, grant, { actor: principal, at: now() });
        await grants.refresh();
        return grantAnswer(grant);
      },
    }),
    defineRoute({
      method: "DELETE",
      path: "/v1/admin/grants/:grant",
      access: "write",
      summary:
        "Removes a grant of the API (its id with %2F for the slash); streams that it allowed end within seconds.",
      params: z.strictObject({ grant: ID }),
      answer: DONE,
      handle: async ({ params, principal }) => {
        const { grant: id } = params;
        const removed = await removeGrantRow(store.db, id, { actor: principal, at: now() });
        if (!removed) throw notRemovable(id, grants.grants());
        await grants.refresh();
        return { done: true };
      },
    }),
    defineRoute({
      method: "POST",
      path: "/v1/admin/grants/check",
      access: "read",
      summary: "Says whether somebody may reach a cluster, by which grant, and which grants nearly say so.",
      body: z.strictObject({ cluster: CLUSTER_ID, upstream: UPSTREAM, caller: CALLER }),
      answer: ACCESS_DECISION,
      handle: async ({ body }) => {
        await grants.refresh();
        const caller: Principal = { ...body.caller, extra: {}, expiresAt: new Date(context.now() + 1) };
        return decisionAnswer(caller, body, context, () => true);
      },
    }),
  ];
}

/** A decision for an answer; `shows` says which near misses its reader may know of. */
export function decisionAnswer(
  principal: Principal,
  asked: { readonly cluster: string; readonly upstream: string },
  { grants }: Pick<AdminContext, "grants">,
  shows: (miss: NearMiss) => boolean,
): Readonly<Record<string, unknown>> {
  const { cluster, upstream } = asked;
  const decision = grants.decide(principal, cluster, upstream);
  const near = decision.allowed ? [] : decision.near.filter(shows);
  return {
    cluster,
    allowed: decision.allowed,
    reason: decision.reason,
    grant: decision.allowed ? decision.grant.id : null,
    near: near.map(({ grant, lack, text }) => ({ grant: grant.id, lack, text })),
  };
}

function grantAnswer({ id, source, spec }: Grant): Readonly<Record<string, unknown>> {
  return JSON.parse(JSON.stringify({ id, source, ...spec }));
}

function notRemovable(id: string, grants: readonly Grant[]): ConnectError {
  const grant = grants.find((candidate) => candidate.id === id);
  if (grant === undefined || grant.source === "api")
    return new ConnectError("CC_ID_INVALID", `There is no grant ${id}`);
  const where = grant.source === "file" ? "a file of grantsDir" : "the relay's settings";
  return new ConnectError("CC_REQUEST_REFUSED", `The grant ${id} is in ${where}, take it out there`);
}
