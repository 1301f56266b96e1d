import type { IncomingMessage, Server } from "node:http";
import { ConnectError } from "@cluster-connect/protocol";
import { errorFields, type Metrics } from "@cluster-connect/service";
import { type FastifyInstance, type FastifyReply, fastify } from "fastify";
import type { Admins } from "../admin/admins.ts";
import type { AdminContext } from "../admin/context.ts";
import { adminRoutes } from "../admin/routes.ts";
import type { Authenticate } from "./authenticate.ts";
import { isFromThisMachine } from "./caller-address.ts";
import { problemAnswer } from "./problem.ts";
import { type RegisterDeps, registerRoutes } from "./register.ts";
import type { Route } from "./route.ts";
import { type PublicRouteDeps, publicRoutes } from "./routes/public.ts";

export interface HttpApiDeps extends AdminContext, PublicRouteDeps {
  readonly server: Server;
  readonly authenticate: Authenticate;
  readonly admins: Admins;
  readonly admitSocket: RegisterDeps["admitSocket"];
  readonly admit: RegisterDeps["admit"];
  readonly admitReader: RegisterDeps["admitReader"];
  readonly metrics: Metrics;
  /** Serve `/metrics` here, to this machine. */
  readonly ownMetrics: boolean;
  /** Told about each request whose sender was not let in. */
  readonly onRefused: (refusal: { readonly route: string; readonly code: string }, request: IncomingMessage) => void;
}

/** An enrollment with eight large authorities is far below this. */
const MAX_BODY_BYTES = 65_536;

/** The relay's HTTP routes on a server that its owner listens with. */
export async function createHttpApi(deps: HttpApiDeps): Promise<FastifyInstance> {
  const app: FastifyInstance = fastify({
    serverFactory: (handler) => deps.server.on("request", handler),
    bodyLimit: MAX_BODY_BYTES,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 256 },
  });
  app.setErrorHandler((error, _request, reply) => answerError(reply, fromFastify(error), deps));
  app.setNotFoundHandler((request, reply) => {
    deps.admitReader(request.raw);
    const { headers, body } = problemAnswer(new ConnectError("CC_REQUEST_REFUSED", "The relay has no such route"));
    return reply
      .status(404)
      .headers(headers)
      .send(JSON.stringify({ ...body, status: 404, title: "Not Found" }));
  });
  const routes: readonly Route[] = [...publicRoutes(deps, () => routes), ...adminRoutes(deps)];
  await registerRoutes(app, routes, deps);
  if (deps.ownMetrics) addMetrics(app, deps.metrics);
  await app.ready();
  return app;
}

/** Only where there is no port of their own for them, and for this machine alone; not part of the published document. */
function addMetrics(app: FastifyInstance, metrics: Metrics): void {
  app.get("/metrics", async (request, reply) => {
    if (!isFromThisMachine(request.raw)) {
      reply.callNotFound();
      return reply;
    }
    return await reply.header("content-type", metrics.contentType).send(await metrics.text());
  });
}

function answerError(
  reply: FastifyReply,
  error: unknown,
  { log, onRefused }: Pick<HttpApiDeps, "log" | "onRefused">,
): FastifyReply {
  const { status, headers, body } = problemAnswer(error);
  const route = reply.request.routeOptions.url ?? "none";
  const fields = { event: "http.refused", status, route };
  if (status === 401 || status === 403) onRefused({ route, code: body.code }, reply.request.raw);
  if (body.code === "CC_INTERNAL") log.error({ ...fields, ...errorFields(error) }, "request failed");
  else log.info({ ...fields, code: body.code }, "request refused");
  return reply.status(status).headers(headers).send(JSON.stringify(body));
}

/** Fastify's own complaints are the caller's fault; their texts may quote the body, so they are not passed on. */
function fromFastify(error: unknown): unknown {
  if (error instanceof ConnectError || !(error instanceof Error) || !("statusCode" in error)) return error;
  const { statusCode } = error;
  if (typeof statusCode !== "number" || statusCode >= 500) return error;
  return new ConnectError("CC_REQUEST_REFUSED", "The request's body is too large or not JSON");
}
