import { type IncomingMessage, request as requestPlain } from "node:http";
import { request as requestTls } from "node:https";
import { isIP } from "node:net";
import { Readable } from "node:stream";
import { connect as connectTls } from "node:tls";
import { connectThroughProxy, proxyAuthorization, refusedByProxy } from "@cluster-connect/framing/ws";

/** Answers that have no body, by the rules of HTTP. */
const BODILESS: ReadonlySet<number> = new Set([101, 204, 205, 304]);

/**
 * Sends one request through an HTTP proxy, with one CONNECT for it. A request without TLS goes to the proxy as it is.
 *
 * @throws ConnectError `CC_RELAY_UNREACHABLE` naming the proxy; else what Node says of the connection.
 */
export async function fetchThroughProxy(proxy: URL, ...[input, init]: Parameters<typeof fetch>): Promise<Response> {
  const asked = new Request(input, init);
  const { signal, method } = asked;
  const url = new URL(asked.url);
  const body = asked.body === null ? undefined : Buffer.from(await asked.arrayBuffer());
  const headers = {
    ...Object.fromEntries(asked.headers),
    host: url.host,
    connection: "close",
    ...(body === undefined ? {} : { "content-length": String(body.length) }),
  };
  if (url.protocol === "http:") return await sendPlain(url, proxy, { method, headers, signal, body });
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  const port = url.port === "" ? 443 : Number(url.port);
  const socket = await connectThroughProxy(proxy, { host, port }, { signal });
  // An address is no server name, by RFC 6066.
  const servername = isIP(host) === 0 ? host : "";
  const createConnection = () => connectTls({ socket, host, servername, ALPNProtocols: ["http/1.1"] });
  try {
    const request = requestTls({
      host,
      port,
      path: `${url.pathname}${url.search}`,
      method,
      headers,
      signal,
      createConnection,
    });
    return toResponse(await answerOf(request, body));
  } catch (error) {
    socket.destroy();
    throw signal.aborted ? signal.reason : error;
  }
}

interface Sent {
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  readonly body: Buffer | undefined;
}

async function sendPlain(url: URL, proxy: URL, { method, headers, signal, body }: Sent): Promise<Response> {
  const start = proxy.protocol === "https:" ? requestTls : requestPlain;
  const request = start({
    host: proxy.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: proxy.port === "" ? undefined : Number(proxy.port),
    path: url.href,
    method,
    headers: { ...headers, ...proxyAuthorization(proxy) },
    agent: false,
    signal,
  });
  const answer = await answerOf(request, body).catch((error: unknown) => {
    throw signal.aborted ? signal.reason : error;
  });
  if (answer.statusCode !== 407) return toResponse(answer);
  answer.destroy();
  throw refusedByProxy(proxy, url.host, answer);
}

async function answerOf(request: ReturnType<typeof requestPlain>, body: Buffer | undefined): Promise<IncomingMessage> {
  return await new Promise((resolve, reject) => {
    request.once("response", resolve).on("error", reject).end(body);
  });
}

function toResponse(answer: IncomingMessage): Response {
  const status = answer.statusCode ?? 0;
  const headers = new Headers();
  for (const [name, values] of Object.entries(answer.headersDistinct)) {
    for (const value of values ?? []) headers.append(name, value);
  }
  if (BODILESS.has(status)) answer.resume();
  if (BODILESS.has(status)) return new Response(null, { status, headers });
  const chunks = Readable.toWeb(answer).getReader();
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await chunks.read();
      if (done) controller.close();
      else controller.enqueue(new Uint8Array(value));
    },
    cancel: async (reason) => await chunks.cancel(reason),
  });
  return new Response(body, { status, headers });
}
