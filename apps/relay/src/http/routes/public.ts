import { ACCESS_DECISION, CLUSTERS_ANSWER, ENROLLED_KEY, type LoginSettings, RELAY_INFO } from "@cluster-connect/api";
import type { Principal } from "@cluster-connect/auth";
import type { Health, Logger } from "@cluster-connect/service";
import { z } from "zod";
import { decisionAnswer } from "../../admin/routes/grants.ts";
import type { TunnelsElsewhere } from "../../agents/at-relays.ts";
import type { Registry } from "../../agents/tunnels.ts";
import type { GrantBook } from "../../grants/grant-book.ts";
import type { Store } from "../../store/store.ts";
import { CLUSTER_ID, UPSTREAM } from "../fields.ts";
import { openApiDocument } from "../openapi.ts";
import { defineDocument, defineRoute, type Route } from "../route.ts";
import { clustersFor } from "./clusters.ts";
import { enroll } from "./enroll.ts";
import { rotate } from "./rotate.ts";

/** Dependencies of the public routes and of those for callers. */
export interface PublicRouteDeps {
  readonly store: Store;
  readonly registry: Registry;
  readonly tunnelsElsewhere: TunnelsElsewhere;
  readonly grants: GrantBook;
  readonly login: LoginSettings | undefined;
  readonly software: string;
  readonly health: Health;
  /** Host and perhaps port of the public name, which agents sign. */
  readonly authority: string;
  /** @throws ConnectError `CC_LIMIT_REACHED` for a caller who asks for the list too often. */
  readonly admitList: (caller: Principal) => void;
  readonly now: () => number;
  readonly log: Logger;
}

/** Public routes and those for callers; agents and CLIs open their channels beside them, by upgrade. */
export function publicRoutes(deps: PublicRouteDeps, all: () => readonly Route[]): readonly Route[] {
  return [...openRoutes(deps, all), ...callerRoutes(deps)];
}

function openRoutes(deps: PublicRouteDeps, all: () => readonly Route[]): readonly Route[] {
  return [
    defineDocument({
      path: "/.well-known/cluster-connect",
      summary: "Says who the relay is and how to sign in.",
      answer: RELAY_INFO,
      make: () => ({ relayId: deps.store.relayId, software: deps.software, login: deps.login ?? null }),
    }),
    defineDocument({
      path: "/v1/openapi.json",
      summary: "This document.",
      answer: z.record(z.string(), z.unknown()),
      make: () => openApiDocument(all()),
    }),
    defineRoute({
      method: "GET",
      path: "/healthz",
      access: "public",
      summary: "Says `ok` while the process runs.",
      answer: "text/plain",
      unpaced: true,
      handle: async ({ reply }) => await reply.type("text/plain").send("ok"),
    }),
    defineRoute({
      method: "GET",
      path: "/readyz",
      access: "public",
      summary: "Says what is well; 503 unless all is.",
      answer: "application/json",
      unpaced: true,
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
      answer: ENROLLED_KEY,
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
      answer: ENROLLED_KEY,
      handle: async ({ body }) => {
        const answer = await rotate(body, deps);
        deps.log.info({ event: "agent.key.added", clusterId: answer.clusterId, keyId: answer.keyId }, "new agent key");
        return answer;
      },
    }),
  ];
}

function callerRoutes(deps: PublicRouteDeps): readonly Route[] {
  return [
    defineRoute({
      method: "GET",
      path: "/v1/clusters",
      access: "caller",
      summary: "Lists the clusters that the caller may reach.",
      answer: CLUSTERS_ANSWER,
      handle: async ({ principal }) => {
        deps.admitList(principal);
        return { clusters: await clustersFor(principal, deps) };
      },
    }),
    defineRoute({
      method: "GET",
      path: "/v1/access",
      access: "caller",
      summary:
        "Says whether and why the caller may reach a cluster; grants that name the caller and lack one thing too.",
      query: z.strictObject({ cluster: CLUSTER_ID, upstream: UPSTREAM }),
      answer: ACCESS_DECISION,
      handle: async ({ principal, query }) =>
        // The other names of the grants are not the caller's business.
        decisionAnswer(principal, query, deps, ({ grant, lack }) => {
          const { users, groups, servicePrincipals } = grant.spec;
          return lack !== "caller" && [users, groups, servicePrincipals].some((names) => names !== undefined);
        }),
    }),
  ];
}
