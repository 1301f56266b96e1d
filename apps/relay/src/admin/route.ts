import type { Principal } from "@cluster-connect/auth";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { z } from "zod";

/** Who may use a route: anybody, a verified caller, an administrator who looks, or one who changes. */
export type Access = "public" | "caller" | "read" | "write";

export type Method = "GET" | "POST" | "PATCH" | "DELETE";

/** A request that passed its checks. */
export interface RouteRequest<Params, Query, Body> {
  /** Who asks; a route for anybody has nobody. */
  readonly principal: Principal;
  readonly params: Params;
  readonly query: Query;
  readonly body: Body;
  readonly raw: FastifyRequest;
  readonly reply: FastifyReply;
}

/** One route of the HTTP API: what is registered, checked and published come from here. */
export interface Route {
  readonly method: Method;
  /** With `:name` for parameters. */
  readonly path: string;
  readonly access: Access;
  /** One sentence. */
  readonly summary: string;
  readonly params: z.ZodObject | undefined;
  readonly query: z.ZodObject | undefined;
  readonly body: z.ZodType | undefined;
  /** The answer with status 200; a text is a content type that is written by the handler itself. */
  readonly answer: z.ZodType | string;
  handle(request: RouteRequest<unknown, unknown, unknown>): Promise<unknown>;
}

/** A {@link Route} whose handler knows what its schemas let through. */
export interface RouteDefinition<
  P extends z.ZodObject,
  Q extends z.ZodObject,
  B extends z.ZodType,
  A extends z.ZodType,
> {
  readonly method: Method;
  readonly path: string;
  readonly access: Access;
  readonly summary: string;
  readonly params?: P;
  readonly query?: Q;
  readonly body?: B;
  readonly answer: A | string;
  readonly handle: (request: RouteRequest<z.output<P>, z.output<Q>, z.output<B>>) => Promise<unknown>;
}

/** Makes a route; its handler gets what its own schemas gave. */
export function defineRoute<P extends z.ZodObject, Q extends z.ZodObject, B extends z.ZodType, A extends z.ZodType>(
  definition: RouteDefinition<P, Q, B, A>,
): Route {
  const { params, query, body, handle } = definition;
  return {
    ...definition,
    ...{ params, query, body },
    handle: (request) =>
      handle({
        ...request,
        params: parsed(params, request.params),
        query: parsed(query, request.query),
        body: parsed(body, request.body),
      }),
  };
}

/** Values come here after {@link checkRequest}; without a schema nobody looks at them. */
function parsed<S extends z.ZodType>(schema: S | undefined, value: unknown): z.output<S> {
  return schema === undefined ? (undefined as z.output<S>) : schema.parse(value);
}
