import { z } from "zod";
import { CLUSTER_ID } from "../admin/fields.ts";
import { openApiDocument } from "../admin/openapi.ts";
import { defineRoute, type Route } from "../admin/route.ts";
import { DECISION, decisionAnswer } from "../admin/routes/grants.ts";
import type { HttpApiDeps } from "../http-api.ts";
import { clustersFor } from "./clusters.ts";
import { enroll } from "./enroll.ts";
import { rotate } from "./rotate.ts";

const LOGIN = z.strictObject({
  issuer: z.string(),
  clientId: z.string(),
  scopes: z.array(z.string()),
  audiences: z.strictObject({ relay: z.string(), cluster: z.string() }),
  resourceParameter: z.enum(["resource", "scope", "audience"]),
});

const CLUSTER = z.strictObject({
  id: z.string(),
  status: z.enum(["connected", "degraded", "connecting", "offline"]),
  since: z.string().nullable(),
  lastSeenAt: z.string().nullable(),
  lastSeenSeconds: z.int().nullable(),
  reason: z.string().nullable(),
  agents: z.array(z.strictObject({ instanceId: z.string(), since: z.string() })),
  certificateAuthorities: z.string().nullable(),
  fingerprint: z.string().nullable(),
  serverName: z.string(),
});

/** Routes for everybody and for callers; agents and CLIs open their channels beside them, by upgrade. */
export function publicRoutes(deps: HttpApiDeps, all: () => readonly Route[]): readonly Route[] {
  return [...openRoutes(deps, all), ...callerRoutes(deps)];
}

function openRoutes(deps: HttpApiDeps, all: () => readonly Route[]): readonly Route[] {
  return [
    defineRoute({
      method: "GET",
      path: "/.well-known/cluster-connect",
      access: "public",
      summary: "Says who the relay is and how to sign in.",
      answer: z.strictObject({ relayId: z.string(), software: z.string(), login: LOGIN.nullable() }),
      handle: async () => ({
        relayId: deps.store.relayId,
        software: deps.software,
        login: deps.login ?? null,
      }),
    }),
    defineRoute({
      method: "GET",
      path: "/v1/openapi.json",
      access: "public",
      summary: "This document.",
      answer: z.record(z.string(), z.unknown()),
      handle: async () => openApiDocument(all()),
    }),
    defineRoute({
      method: "GET",
      path: "/healthz",
      access: "public",
      summary: "Says `ok` while the process runs.",
      answer: "text/plain",
      handle: async ({ reply }) => await reply.type("text/plain").send("ok"),
    }),
    defineRoute({
      method: "GET",
      path: "/readyz",
      access: "public",
      summary: "Says what is well; 503 unless all is.",
      answer: "application/json",
      handle: async ({ reply }) => {
        const report = await deps.health.ready();
        reply.status(report.ok ? 200 : 503).header("cache-control", "no-store");
        return await reply.type("application/json").send(JSON.stringify(report));
      },
    }),
    defineRoute({
      method: "POST",
      path: "/v1/enroll",
      access: "public",
      summary: "Makes an agent's public key known, for a one-time code.",
      body: z.unknown(),
      answer: z.strictObject({ clusterId: z.string(), keyId: z.string(), relayId: z.string() }),
      handle: async ({ body }) => {
        const answer = await enroll(body, deps);
        deps.log.info({ event: "agent.enrolled", clusterId: answer.clusterId, keyId: answer.keyId }, "agent enrolled");
        return answer;
      },
    }),
    defineRoute({
      method: "POST",
      path: "/v1/agent/keys",
      access: "public",
      summary: "Takes an agent's new key on the signature of its former one.",
      body: z.unknown(),
      answer: z.strictObject({ clusterId: z.string(), keyId: z.string(), relayId: z.string() }),
      handle: async ({ body }) => {
        const answer = await rotate(body, deps);
        deps.log.info({ event: "agent.key.added", clusterId: answer.clusterId, keyId: answer.keyId }, "new agent key");
        return answer;
      },
    }),
  ];
}

function callerRoutes(deps: HttpApiDeps): readonly Route[] {
  return [
    defineRoute({
      method: "GET",
      path: "/v1/clusters",
      access: "caller",
      summary: "Lists the clusters that the caller may reach.",
      answer: z.strictObject({ clusters: z.array(CLUSTER) }),
      handle: async ({ principal }) => ({ clusters: await clustersFor(principal, deps) }),
    }),
    defineRoute({
      method: "GET",
      path: "/v1/access",
      access: "caller",
      summary:
        "Says whether and why the caller may reach a cluster; grants that name the caller and lack one thing too.",
      query: z.strictObject({ cluster: CLUSTER_ID }),
      answer: DECISION,
      handle: async ({ principal, query }) =>
        // Whom else the grants name is not the caller's business.
        decisionAnswer(principal, query.cluster, deps, ({ grant, lack }) => {
          const { users, groups, servicePrincipals } = grant.spec;
          return lack !== "caller" && [users, groups, servicePrincipals].some((names) => names !== undefined);
        }),
    }),
  ];
}
