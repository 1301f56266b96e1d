import type { IncomingMessage } from "node:http";
import type { Principal } from "@cluster-connect/auth";
import { ConnectError } from "@cluster-connect/protocol";
import { describeProblems } from "@cluster-connect/service";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { z } from "zod";
import type { Admins } from "../admin/admins.ts";
import type { Authenticate } from "./authenticate.ts";
import type { Route } from "./route.ts";

const AUTHENTICATE_TIMEOUT_MS = 10_000;

export interface RegisterDeps {
  readonly authenticate: Authenticate;
  readonly admins: Admins;
  /** Judges a request by the socket that it came on, before anything else. @throws ConnectError `CC_LIMIT_REACHED`. */
  readonly admitSocket: (request: IncomingMessage) => void;
  /** Judges a request that changes something and carries no token. @throws ConnectError `CC_LIMIT_REACHED`. */
  readonly admit: (request: IncomingMessage) => void;
  /** Judges a request for a public document or an unknown path. @throws ConnectError `CC_LIMIT_REACHED`. */
  readonly admitReader: (request: IncomingMessage) => void;
}

/** Registers routes: the caller is settled before anything else of the request is looked at. */
export async function registerRoutes(
  app: FastifyInstance,
  routes: readonly Route[],
  deps: RegisterDeps,
): Promise<void> {
  for (const route of routes) {
    const callers = new WeakMap<FastifyRequest, Principal>();
    const text = route.document === undefined ? undefined : textOf(route, await route.document());
    app.route({
      method: route.method,
      url: route.path,
      onRequest: async (request, reply) => {
        if (!route.unpaced) admitSocket(request, reply, deps);
        const principal = await callerOf(request, route, deps);
        if (principal !== undefined) callers.set(request, principal);
      },
      handler: async (request, reply) =>
        text !== undefined
          ? reply.type("application/json").send(text)
          : await answer(route, callers.get(request) ?? NOBODY, request, reply),
    });
  }
}

/** A socket that is not let in gives its file back with the answer. */
function admitSocket(request: FastifyRequest, reply: FastifyReply, deps: RegisterDeps): void {
  try {
    deps.admitSocket(request.raw);
  } catch (error) {
    reply.header("connection", "close");
    throw error;
  }
}

/** Stands for the caller of a public route. */
const NOBODY: Principal = {
  issuer: "",
  subject: "",
  username: "",
  groups: [],
  extra: {},
  claims: {},
  expiresAt: new Date(0),
};

async function callerOf(request: FastifyRequest, route: Route, deps: RegisterDeps): Promise<Principal | undefined> {
  if (route.access === "public") {
    if (route.method !== "GET") deps.admit(request.raw);
    else if (!route.unpaced) deps.admitReader(request.raw);
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
  return await reply.type("application/json").send(textOf(route, result));
}

function textOf({ answer: schema }: Route, result: unknown): string {
  return JSON.stringify(typeof schema === "string" ? result : schema.parse(result));
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
