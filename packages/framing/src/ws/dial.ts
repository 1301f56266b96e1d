import { type ClientRequest, type IncomingMessage, request as requestPlain } from "node:http";
import { request as requestTls } from "node:https";
import { isIP, type Socket } from "node:net";
import { connect as connectTls, type SecureContextOptions } from "node:tls";
import { bareHost, onAbort } from "@cluster-connect/base";
import { ConnectError, HANDSHAKE_TIMEOUT_MS, SUBPROTOCOL } from "@cluster-connect/protocol";
import type { MessageChannel } from "../channel.ts";
import { prepareSocket } from "./accept.ts";
import { socketChannel } from "./channel.ts";
import { SYSTEM_WEB_SOCKET_DEPS, type WebSocketDeps } from "./deps.ts";
import { dialError } from "./dial-error.ts";
import { createDirectRead, type DirectRead } from "./direct-read.ts";
import { isOurAnswer } from "./handshake.ts";
import { connectTcp, type OvertakeDeps, overtaking } from "./overtake.ts";
import { connectThroughProxy, portOf } from "./proxy.ts";
import { readRefusal } from "./refusal.ts";

export interface DialWebSocketOptions {
  readonly signal: AbortSignal;
  /** Sent with the upgrade request; never logged. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Authorities and own certificate; without `ca` the machine's authorities are used. */
  readonly tls?: Pick<SecureContextOptions, "ca" | "cert" | "key"> & { readonly servername?: string };
  /** An HTTP proxy on the way; {@link proxyFor} finds it in the environment. */
  readonly proxy?: URL | undefined;
  /** From dial to the answer of the upgrade. */
  readonly timeoutMs?: number;
}

/**
 * Opens a channel.
 *
 * @param url `wss:` or `https:`; `ws:` and `http:` without TLS.
 * @throws ConnectError, naming host and reason: `CC_RELAY_UNREACHABLE` when nothing answers, `CC_TLS_UNTRUSTED` when
 *   the certificate does not pass, the code in the body of a refused upgrade, else `CC_RELAY_REFUSED`. The signal's
 *   reason when it is aborted.
 */
export async function dialWebSocket(
  url: URL,
  options: DialWebSocketOptions,
  deps: WebSocketDeps = SYSTEM_WEB_SOCKET_DEPS,
): Promise<MessageChannel> {
  const { signal } = options;
  signal.throwIfAborted();
  const key = Buffer.from(deps.randomBytes(16)).toString("base64");
  const secure = url.protocol === "wss:" || url.protocol === "https:";
  const deadline = AbortSignal.timeout(options.timeoutMs ?? HANDSHAKE_TIMEOUT_MS);
  const overtakeDeps = { clock: deps.clock, connect: connectTcp };
  const through = await proxySocket(url, options, { deadline, deps: overtakeDeps });
  if (signal.aborted) {
    through?.destroy();
    throw signal.reason;
  }
  const place = { host: bareHost(url.hostname), port: portOf(url) };
  const upgrade = (tell: (socket: Socket) => void, either: AbortSignal): Promise<MessageChannel> =>
    requestUpgrade(url, { secure, key, through, deadline, tell }, { ...options, signal: either }, deps);
  return await overtaking(place, upgrade, { signal }, overtakeDeps);
}

/** How one upgrade is asked for. */
interface UpgradeAttempt {
  readonly secure: boolean;
  readonly key: string;
  readonly through: Socket | undefined;
  readonly deadline: AbortSignal;
  readonly tell: (socket: Socket) => void;
}

async function requestUpgrade(
  url: URL,
  { secure, key, through, deadline, tell }: UpgradeAttempt,
  options: DialWebSocketOptions,
  deps: WebSocketDeps,
): Promise<MessageChannel> {
  const { signal } = options;
  const direct = secure && through === undefined ? createDirectRead() : undefined;
  const request = startRequest(url, { secure, key, through, direct }, options);
  request.once("socket", tell);
  const { promise, resolve, reject } = Promise.withResolvers<MessageChannel>();
  const leaves = [
    onAbort(signal, () => reject(signal.reason)),
    onAbort(deadline, () => reject(new ConnectError("CC_RELAY_UNREACHABLE", `${url.host}: no answer in time`))),
  ];
  request.once("upgrade", (response: IncomingMessage, socket: Socket, head: Buffer) => {
    if (isOurAnswer(response.headers, key)) {
      prepareSocket(socket);
      resolve(socketChannel(socket, { head, masking: secure ? "zero" : "random", direct }, deps));
    } else {
      socket.destroy();
      reject(new ConnectError("CC_RELAY_REFUSED", `${url.host} does not speak ${SUBPROTOCOL}`));
    }
  });
  request.once("response", (response) => {
    readRefusal(url.host, response).then(reject, reject);
  });
  request.on("error", (error) => reject(dialError(url.host, error)));
  request.end();
  try {
    return await promise;
  } catch (error) {
    request.destroy();
    throw error;
  } finally {
    for (const leave of leaves) leave();
  }
}

/** A socket to the host through the proxy, when there is one. */
async function proxySocket(
  url: URL,
  { proxy, signal }: DialWebSocketOptions,
  { deadline, deps }: { readonly deadline: AbortSignal; readonly deps: OvertakeDeps },
): Promise<Socket | undefined> {
  if (proxy === undefined) return undefined;
  const target = { host: bareHost(url.hostname), port: portOf(url) };
  const place = { host: bareHost(proxy.hostname), port: portOf(proxy) };
  const ask = (tell: (socket: Socket) => void, either: AbortSignal): Promise<Socket> =>
    connectThroughProxy(proxy, target, { signal: either, tell });
  try {
    return await overtaking(place, ask, { signal: AbortSignal.any([signal, deadline]) }, deps);
  } catch (error) {
    signal.throwIfAborted();
    if (!deadline.aborted) throw error;
    throw new ConnectError("CC_RELAY_UNREACHABLE", `The proxy ${proxy.host}: no answer in time`);
  }
}

function startRequest(
  url: URL,
  how: {
    readonly secure: boolean;
    readonly key: string;
    readonly through: Socket | undefined;
    readonly direct: DirectRead | undefined;
  },
  options: DialWebSocketOptions,
): ClientRequest {
  const { secure, key, through, direct } = how;
  const target = new URL(url);
  target.protocol = secure ? "https:" : "http:";
  const headers = {
    ...options.headers,
    Connection: "Upgrade",
    Upgrade: "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": key,
    "Sec-WebSocket-Protocol": SUBPROTOCOL,
  };
  // The socket is the channel's and never pooled: without an agent, which would not ask `createConnection` either.
  if (!secure) {
    const way = through === undefined ? { agent: false } : { createConnection: () => through };
    return requestPlain(target, { headers, ...way });
  }
  const servername = options.tls?.servername ?? (isIP(target.hostname) === 0 ? target.hostname : "");
  const createConnection = (): Socket => {
    const host = bareHost(target.hostname);
    const tls = { ...options.tls, host, servername };
    if (through !== undefined) return connectTls({ ...tls, socket: through });
    const way = { port: portOf(target), ALPNProtocols: ["http/1.1"] };
    const socket = connectTls({ ...tls, ...way, ...(direct === undefined ? {} : { onread: direct.onread }) });
    direct?.of(socket);
    return socket;
  };
  return requestTls(target, { headers, createConnection });
}
