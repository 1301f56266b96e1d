import type { IncomingMessage } from "node:http";
import type { Principal } from "@cluster-connect/auth";
import { ConnectError } from "@cluster-connect/protocol";
import { describeProblems } from "@cluster-connect/service";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { z } from "zod";
import type { Authenticate } from "../authenticate.ts";
import type { Admins } from "./admins.ts";
import type { Route } from "./route.ts";

const AUTHENTICATE_TIMEOUT_MS = 10_000;

export interface RegisterDeps {
  readonly authenticate: Authenticate;
  readonly admins: Admins;
  /** Judges a request that changes something and carries no token. @throws ConnectError `CC_LIMIT_REACHED`. */
  readonly admit: (request: IncomingMessage) => void;
}

/** Registers routes: who asks is settled before anything else of the request is looked at. */
export function registerRoutes(app: FastifyInstance, routes: readonly Route[], deps: RegisterDeps): void {
  for (const route of routes) {
    const callers = new WeakMap<FastifyRequest, Principal>();
    app.route({
      method: route.method,
      url: route.path,
      onRequest: async (request) => {
        const principal = await callerOf(request, route, deps);
        if (principal !== undefined) callers.set(request, principal);
      },
      handler: async (request, reply) => await answer(route, callers.get(request) ?? NOBODY, request, reply),
    });
  }
}

/** Stands for the caller of a public route. */
const NOBODY: Principal = {
  ...{ issuer: "", subject: "", username: "", groups: [], extra: {}, claims: {} },
  expiresAt: new Date(0),
};

async function callerOf(request: FastifyRequest, route: Route, deps: RegisterDeps): Promise<Principal | undefined> {
  if (route.access === "public") {
    if (route.method !== "GET") deps.admit(request.raw);
    return undefined;
  }
  const principal = await deps.authenticate(request.raw, { signal: AbortSignal.timeout(AUTHENTICATE_TIMEOUT_MS) });
  if (route.access !== "caller") deps.admins.require(principal, route.access);
  return principal;
}

async function answer(
  route: Route,
  principal: Principal,
  raw: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  checkRequest(route, raw);
  const { params, query, body } = raw;
  if (route.access !== "public") reply.header("cache-control", "no-store");
  const result = await route.handle({ principal, params, query, body, raw, reply });
  if (typeof route.answer === "string") return reply;
  return await reply.type("application/json").send(JSON.stringify(route.answer.parse(result)));
}

/** @throws ConnectError `CC_REQUEST_REFUSED` with every problem of parameters, query and body. */
function checkRequest(route: Route, { params, query, body }: FastifyRequest): void {
  const problems = [...problemsOf("path", route.params, params), ...problemsOf("query", route.query, query)];
  problems.push(...problemsOf("body", route.body, body));
  if (problems.length === 0) return;
  throw new ConnectError("CC_REQUEST_REFUSED", `The request is not valid: ${problems.join("; ")}`);
}

function problemsOf(where: string, schema: z.ZodType | undefined, value: unknown): readonly string[] {
  const result = schema?.safeParse(value);
  if (result === undefined || result.success) return [];
  return describeProblems(result.error).map((problem) => `${where} ${problem.replace(/^: /, "")}`);
}
