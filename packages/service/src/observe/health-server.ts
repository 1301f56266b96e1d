import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { ConnectError } from "@cluster-connect/protocol";
import { boundRequests } from "./bound-requests.ts";
import type { Health } from "./health.ts";
import type { Metrics } from "./metrics.ts";

export interface HealthServer {
  readonly address: AddressInfo;
  close(): Promise<void>;
}

/** Where the server listens; port 0 takes any free one. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/**
 * Serves `/healthz` and `/livez` (the process runs), `/readyz` (JSON report, 503 unless all is well) and `/metrics`.
 *
 * @throws ConnectError `CC_PORT_IN_USE` naming the address.
 */
export async function startHealthServer(
  listen: ListenAddress,
  deps: { readonly health: Health; readonly metrics: Metrics },
): Promise<HealthServer> {
  const { health, metrics } = deps;
  const parts = { health, contentType: metrics.contentType, metricsText: sharedWhileMade(metrics.text) };
  const server = createServer(LIMITS, (request, response) => {
    answer(request.url?.split("?", 1)[0] ?? "", response, parts).catch(() => response.destroy());
  });
  boundRequests(server);
  const address = await listenOn(server, listen);
  return {
    address,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Those that ask here are near and brief. */
const LIMITS = {
  keepAliveTimeout: 5_000,
  headersTimeout: 10_000,
  requestTimeout: 15_000,
  connectionsCheckingInterval: 2_000,
} as const;

/** Requests that come while a text is being made get that one: a flood of them costs little more than one. */
function sharedWhileMade(make: () => Promise<string>): () => Promise<string> {
  let making: Promise<string> | undefined;
  return () => {
    making ??= make().finally(() => {
      making = undefined;
    });
    return making;
  };
}

/** Sources of the answers. */
interface HealthAnswers {
  readonly health: Health;
  readonly contentType: string;
  readonly metricsText: () => Promise<string>;
}

async function answer(
  path: string,
  response: ServerResponse,
  { health, contentType, metricsText }: HealthAnswers,
): Promise<void> {
  switch (path) {
    case "/healthz":
    case "/livez":
      response.writeHead(200, { "content-type": "text/plain" }).end("ok");
      return;
    case "/readyz": {
      const report = await health.ready();
      response
        .writeHead(report.ok ? 200 : 503, { "content-type": "application/json", "cache-control": "no-store" })
        .end(JSON.stringify(report));
      return;
    }
    case "/metrics":
      response.writeHead(200, { "content-type": contentType }).end(await metricsText());
      return;
    default:
      response.writeHead(404).end();
  }
}

/**
 * Listens and waits until that worked.
 *
 * @throws ConnectError `CC_PORT_IN_USE` naming the address, `CC_CONFIG_INVALID` for one this machine does not have.
 */
export function listenOn(server: Server, listen: ListenAddress): Promise<AddressInfo> {
  return new Promise((resolve, reject) => {
    // Later ones, of a connection that could not be taken, must not end the process.
    server.on("error", (cause: NodeJS.ErrnoException) => reject(listenError(listen, cause)));
    server.listen(listen, () => {
      const address = server.address();
      if (address !== null && typeof address === "object") resolve(address);
    });
  });
}

/** A daemon has no flag for it. */
const PORT_HINT = "End the process that has it, or give another port in the settings.";

function listenError({ host, port }: ListenAddress, cause: NodeJS.ErrnoException): ConnectError {
  if (cause.code === "EADDRINUSE") {
    return new ConnectError("CC_PORT_IN_USE", `${host}:${port} is in use`, { cause, hint: PORT_HINT });
  }
  return new ConnectError("CC_CONFIG_INVALID", `Cannot listen on ${host}:${port}: ${cause.code}`, { cause });
}
