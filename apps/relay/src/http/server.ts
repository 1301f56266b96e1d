import { createPrivateKey, X509Certificate } from "node:crypto";
import { createServer as createHttpServer, type Server as HttpServer } from "node:http";
import { createServer as createHttpsServer, type Server as HttpsServer } from "node:https";
import { type Clock, repeat } from "@cluster-connect/base";
import { ConnectError, HANDSHAKE_TIMEOUT_MS } from "@cluster-connect/protocol";
import { errorFields, type Logger, readSettingFile } from "@cluster-connect/service";
import type { RelayConfig } from "../config.ts";

/** A dialer that says nothing, in TLS or after it, has as long as one that opens a channel. */
const SILENT_MS = HANDSHAKE_TIMEOUT_MS;

/** Node's own limits, made explicit: a request's headers arrive soon, tokens with many groups fit. */
const OPTIONS = {
  headersTimeout: SILENT_MS,
  connectionsCheckingInterval: 2_000,
  requestTimeout: 30_000,
  keepAliveTimeout: 65_000,
  maxHeaderSize: 81_920,
  /** Anything but a WebSocket, such as an offer of HTTP/2, is served as the plain request it also is. */
  shouldUpgradeCallback: (request: { readonly headers: { readonly upgrade?: string | undefined } }): boolean =>
    request.headers.upgrade?.toLowerCase() === "websocket",
} as const;

const RELOAD_INTERVAL_MS = 30_000;

/** The server under routes and upgrades. */
export interface RelayServer {
  readonly server: HttpServer;
  /** Follows the certificate's files, so that a renewed one is served without a restart; until the signal is aborted. */
  watch(options: { readonly intervalMs?: number; readonly signal: AbortSignal }): Promise<void>;
}

/**
 * Makes the server, with TLS when the settings name a certificate.
 *
 * @throws ConnectError `CC_FILE_MISSING` or `CC_FILE_UNREADABLE` naming the setting, `CC_CONFIG_INVALID`.
 */
export async function createRelayServer(
  config: Pick<RelayConfig, "tls">,
  deps: { readonly log: Logger; readonly clock: Clock },
): Promise<RelayServer> {
  const { tls } = config;
  if (tls === undefined) return { server: createHttpServer(OPTIONS), watch: () => Promise.resolve() };
  const pair = await readPair(tls);
  const server = createHttpsServer({ ...OPTIONS, ...pair, minVersion: "TLSv1.2", handshakeTimeout: SILENT_MS });
  return { server, watch: (options) => watchPair(server, pair, tls, options, deps) };
}

interface Pair {
  readonly cert: string;
  readonly key: string;
}

async function readPair(tls: NonNullable<RelayConfig["tls"]>): Promise<Pair> {
  const cert = await readSettingFile("tls.certFile", tls.certFile);
  const key = await readSettingFile("tls.keyFile", tls.keyFile);
  if (isPair(cert, key)) return { cert, key };
  throw new ConnectError("CC_CONFIG_INVALID", "tls: the certificate and key are no pair in PEM");
}

/** Asks the certificate itself: TLS takes an empty file, as it is while it is being written, for no certificate. */
function isPair(cert: string, key: string): boolean {
  try {
    return new X509Certificate(cert).checkPrivateKey(createPrivateKey(key));
  } catch {
    return false;
  }
}

async function watchPair(
  server: HttpsServer,
  first: Pair,
  tls: NonNullable<RelayConfig["tls"]>,
  options: { readonly intervalMs?: number; readonly signal: AbortSignal },
  deps: { readonly log: Logger; readonly clock: Clock },
): Promise<void> {
  let served = first;
  const poll = async (): Promise<void> => {
    try {
      const pair = await readPair(tls);
      if (pair.cert === served.cert && pair.key === served.key) return;
      server.setSecureContext(pair);
      served = pair;
      deps.log.info({ event: "tls.reloaded" }, "a new certificate is served");
    } catch (error) {
      deps.log.error({ event: "tls.kept", ...errorFields(error) }, "the former certificate is served on");
    }
  };
  await repeat(poll, { intervalMs: options.intervalMs ?? RELOAD_INTERVAL_MS, signal: options.signal }, deps);
}
