import type { IncomingMessage, Server } from "node:http";
import { STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import { ConnectError, SUBPROTOCOL } from "@cluster-connect/protocol";
import { errorFields, type Logger } from "@cluster-connect/service";
import { errorAnswer } from "./error-answer.ts";

/** An upgrade request that was not answered yet. */
export interface UpgradeRequest {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
}

/** Judges an upgrade request and takes it over; an error that it throws is answered as HTTP. */
export type UpgradeHandler = (upgrade: UpgradeRequest, options: { readonly signal: AbortSignal }) => Promise<void>;

export interface UpgradeDeps {
  readonly log: Logger;
  /** Judges a request by the socket that it came on, before anything else. @throws ConnectError `CC_LIMIT_REACHED`. */
  readonly admitSocket: (request: IncomingMessage) => void;
  /** Told about each request answered with an error. A path that is no route is `none`: any sender may invent one. */
  readonly onRefused?: (refusal: { readonly path: string; readonly code: string }, request: IncomingMessage) => void;
}

/** From the request's headers to the 101. */
const UPGRADE_TIMEOUT_MS = 10_000;

/**
 * Routes upgrade requests by path; every check comes before the 101, and a refusal is an HTTP status with
 * `{code, message, hint}`.
 */
export function routeUpgrades(
  server: Server,
  routes: Readonly<Record<string, UpgradeHandler>>,
  deps: UpgradeDeps,
): void {
  server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    const ignoreReset = (): void => undefined;
    socket.on("error", ignoreReset);
    handleUpgrade({ request, socket, head }, routes, deps)
      .then(() => socket.off("error", ignoreReset))
      .catch((error: unknown) => refuseUpgrade(socket, request, error, { ...deps, routes }))
      // A failure while one socket is refused ends that socket alone.
      .catch((error: unknown) => {
        socket.destroy();
        deps.log.error({ event: "upgrade.failed", ...errorFields(error) }, "refusing an upgrade failed");
      });
  });
}

async function handleUpgrade(
  upgrade: UpgradeRequest,
  routes: Readonly<Record<string, UpgradeHandler>>,
  { admitSocket }: Pick<UpgradeDeps, "admitSocket">,
): Promise<void> {
  const { request, socket } = upgrade;
  admitSocket(request);
  const path = request.url?.split("?", 1)[0] ?? "";
  const handler = Object.hasOwn(routes, path) ? routes[path] : undefined;
  if (handler === undefined) throw new ConnectError("CC_REQUEST_REFUSED", "The relay takes no upgrade on this path");
  const offered = (request.headers["sec-websocket-protocol"] ?? "").split(",").map((name) => name.trim());
  if (!offered.includes(SUBPROTOCOL)) {
    throw new ConnectError("CC_VERSION_UNSUPPORTED", `The relay speaks ${SUBPROTOCOL}, which was not offered`);
  }
  const gone = new AbortController();
  const onClose = (): void => gone.abort();
  socket.once("close", onClose);
  const signal = AbortSignal.any([gone.signal, AbortSignal.timeout(UPGRADE_TIMEOUT_MS)]);
  try {
    await handler(upgrade, { signal });
  } finally {
    socket.off("close", onClose);
  }
}

function refuseUpgrade(
  socket: Duplex,
  request: IncomingMessage,
  error: unknown,
  { log, onRefused, routes }: UpgradeDeps & { readonly routes: Readonly<Record<string, UpgradeHandler>> },
): void {
  const { status, headers, body } = errorAnswer(error);
  const path = pathForLog(request);
  log.info({ event: "upgrade.refused", status, code: body.code, path }, "upgrade refused");
  onRefused?.({ path: Object.hasOwn(routes, path) ? path : "none", code: body.code }, request);
  if (body.code === "CC_INTERNAL") log.error({ event: "upgrade.failed", ...errorFields(error) }, "upgrade failed");
  if (!socket.writable) return;
  const content = Buffer.from(JSON.stringify(body));
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "Refused"}`,
    "connection: close",
    "content-type: application/json",
    `content-length: ${content.length}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
  ];
  socket.end(Buffer.concat([Buffer.from(`${lines.join("\r\n")}\r\n\r\n`), content]), () => socket.destroy());
}

function pathForLog(request: IncomingMessage): string {
  return (request.url ?? "").split("?", 1)[0]?.slice(0, 128) ?? "";
}
