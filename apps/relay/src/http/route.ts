import type { Principal } from "@cluster-connect/auth";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { z } from "zod";

/** Callers who may use a route: all, verified ones, administrators who read, or administrators who change. */
export type Access = "public" | "caller" | "read" | "write";

export type Method = "GET" | "POST" | "PATCH" | "DELETE";

/** A request that passed its checks. */
export interface RouteRequest<Params, Query, Body> {
  /** The verified caller; none on a public route. */
  readonly principal: Principal;
  readonly params: Params;
  readonly query: Query;
  readonly body: Body;
  readonly raw: FastifyRequest;
  readonly reply: FastifyReply;
}

/** One route of the HTTP API: the source of its registration, its checks and its description. */
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
  /** Gives the answer once, at the start, for a route whose answer never changes. */
  readonly document?: (() => Promise<unknown>) | undefined;
  /** Of a public GET: as cheap as refusing it, and asked for by the probes that watch the relay. */
  readonly unpaced?: boolean | undefined;
  handle(request: RouteRequest<unknown, unknown, unknown>): Promise<unknown>;
}

/** A {@link Route} whose handler knows the types of its schemas. */
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
  readonly unpaced?: boolean;
  readonly handle: (request: RouteRequest<z.output<P>, z.output<Q>, z.output<B>>) => Promise<unknown>;
}

/** Makes a route; its handler gets the values that its own schemas parsed. */
export function defineRoute<P extends z.ZodObject, Q extends z.ZodObject, B extends z.ZodType, A extends z.ZodType>(
  definition: RouteDefinition<P, Q, B, A>,
): Route {
  const { params, query, body, handle } = definition;
  return {
    ...definition,
    params,
    query,
    body,
    handle: (request) =>
      handle({
        ...request,
        params: parsed(params, request.params),
        query: parsed(query, request.query),
        body: parsed(body, request.body),
      }),
  };
}

/** Values come here after {@link checkRequest}; without a schema they go unread. */
function parsed<S extends z.ZodType>(schema: S | undefined, value: unknown): z.output<S> {
  return schema === undefined ? (undefined as z.output<S>) : schema.parse(value);
}

/** Makes a public route whose answer is made once, when the relay starts. */
export function defineDocument(
  definition: Pick<Route, "path" | "summary" | "answer"> & { readonly make: () => unknown },
): Route {
  const { make, ...rest } = definition;
  const document = async (): Promise<unknown> => make();
  const none = { params: undefined, query: undefined, body: undefined };
  return { ...rest, ...none, method: "GET", access: "public", document, handle: document };
}
