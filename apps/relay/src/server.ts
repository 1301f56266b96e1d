import { createServer as createHttpServer, type Server } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { ConnectError } from "@cluster-connect/protocol";
import { readSettingFile } from "@cluster-connect/service";
import type { RelayConfig } from "./config.ts";

/** Node's own limits, made explicit: a request's headers arrive soon, tokens with many groups fit. */
const OPTIONS = {
  headersTimeout: 15_000,
  requestTimeout: 30_000,
  keepAliveTimeout: 65_000,
  maxHeaderSize: 81_920,
  /** Anything but a WebSocket, such as an offer of HTTP/2, is served as the plain request it also is. */
  shouldUpgradeCallback: (request: { readonly headers: { readonly upgrade?: string | undefined } }): boolean =>
    request.headers.upgrade?.toLowerCase() === "websocket",
} as const;

/**
 * The server under routes and upgrades, with TLS when the settings name a certificate.
 *
 * @throws ConnectError `CC_FILE_MISSING` or `CC_FILE_UNREADABLE` naming the setting, `CC_CONFIG_INVALID`.
 */
export async function createRelayServer(config: Pick<RelayConfig, "tls">): Promise<Server> {
  if (config.tls === undefined) return createHttpServer(OPTIONS);
  const cert = await readSettingFile("tls.certFile", config.tls.certFile);
  const key = await readSettingFile("tls.keyFile", config.tls.keyFile);
  try {
    return createHttpsServer({ ...OPTIONS, cert, key, minVersion: "TLSv1.2" });
  } catch (cause) {
    throw new ConnectError("CC_CONFIG_INVALID", "tls: the certificate and key are no pair in PEM", { cause });
  }
}
