import type { Server } from "node:http";
import type { Principal } from "@cluster-connect/auth";
import { ConnectError } from "@cluster-connect/protocol";
import { errorFields, type Health, type Logger, type Metrics } from "@cluster-connect/service";
import { type FastifyInstance, type FastifyReply, fastify } from "fastify";
import type { Authenticate } from "./authenticate.ts";
import type { LoginSettings } from "./config.ts";
import { errorAnswer } from "./error-body.ts";
import type { GrantBook } from "./grants/grant-book.ts";
import type { Registry } from "./registry.ts";
import { clustersFor } from "./routes/clusters.ts";
import { enroll } from "./routes/enroll.ts";
import type { Store } from "./store/store.ts";

export interface HttpApiDeps {
  readonly server: Server;
  readonly store: Store;
  readonly registry: Registry;
  readonly grants: GrantBook;
  readonly login: LoginSettings | undefined;
  readonly software: string;
  readonly authenticate: Authenticate;
  readonly health: Health;
  readonly metrics: Metrics;
  readonly log: Logger;
  readonly now: () => number;
}

/** An enrollment with eight large authorities is far below this. */
const MAX_BODY_BYTES = 65_536;

/** The relay's HTTP routes on a server that somebody else listens with. */
export async function createHttpApi(deps: HttpApiDeps): Promise<FastifyInstance> {
  const app: FastifyInstance = fastify({
    serverFactory: (handler) => deps.server.on("request", handler),
    bodyLimit: MAX_BODY_BYTES,
    forceCloseConnections: true,
  });
  app.setErrorHandler((error, _request, reply) => answerError(reply, fromFastify(error), deps.log));
  app.setNotFoundHandler((_request, reply) => {
    const problem = new ConnectError("CC_REQUEST_REFUSED", "The relay has no such route");
    return reply.status(404).send(errorAnswer(problem).body);
  });
  addPublicRoutes(app, deps);
  app.get("/v1/clusters", async (request, reply) => {
    const principal: Principal = await deps.authenticate(request.raw, { signal: AbortSignal.timeout(10_000) });
    return reply.header("cache-control", "no-store").send({ clusters: await clustersFor(principal, deps) });
  });
  app.post("/v1/enroll", async (request) => {
    const answer = await enroll(request.body, deps);
    deps.log.info({ event: "agent.enrolled", clusterId: answer.clusterId, keyId: answer.keyId }, "agent enrolled");
    return answer;
  });
  await app.ready();
  return app;
}

function addPublicRoutes(app: FastifyInstance, deps: HttpApiDeps): void {
  app.get("/.well-known/cluster-connect", async () => ({
    relayId: deps.store.relayId,
    software: deps.software,
    login: deps.login ?? null,
  }));
  app.get("/healthz", async () => "ok");
  app.get("/readyz", async (_request, reply) => {
    const report = await deps.health.ready();
    return reply
      .status(report.ok ? 200 : 503)
      .header("cache-control", "no-store")
      .send(report);
  });
  app.get("/metrics", async (_request, reply) =>
    reply.header("content-type", deps.metrics.contentType).send(await deps.metrics.text()),
  );
}

function answerError(reply: FastifyReply, error: unknown, log: Logger): FastifyReply {
  const { status, headers, body } = errorAnswer(error);
  const fields = { event: "http.refused", status, route: reply.request.routeOptions.url ?? "none" };
  if (body.code === "CC_INTERNAL") log.error({ ...fields, ...errorFields(error) }, "request failed");
  else log.info({ ...fields, code: body.code }, "request refused");
  return reply.status(status).headers(headers).send(body);
}

/** Fastify's own complaints are the caller's fault; their texts may quote the body, so they are not passed on. */
function fromFastify(error: unknown): unknown {
  if (error instanceof ConnectError || !(error instanceof Error) || !("statusCode" in error)) return error;
  const { statusCode } = error;
  if (typeof statusCode !== "number" || statusCode >= 500) return error;
  return new ConnectError("CC_REQUEST_REFUSED", "The request's body is too large or not JSON");
}
