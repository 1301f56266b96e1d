import { once } from "node:events";
import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2 } from "node:http2";
import { connect as connectTcp } from "node:net";
import { connect, type TLSSocket } from "node:tls";
import { buildProxyHeader, type HeaderFields } from "./proxy-header.ts";
import type { RawTarget } from "./raw-client.ts";

/** A TLS stream into the auth proxy that offers protocols, behind the header that the agent writes. */
export async function openAlpn(
  target: RawTarget,
  protocols: readonly string[],
  fields: HeaderFields = {},
): Promise<TLSSocket> {
  const socket = connectTcp(target.port, "127.0.0.1");
  await once(socket, "connect");
  socket.write(buildProxyHeader(fields));
  const stream = connect({ socket, ca: target.caPem, servername: "localhost", ALPNProtocols: [...protocols] });
  await once(stream, "secureConnect");
  stream.on("error", () => stream.destroy());
  return stream;
}

/** A connection over HTTP/2. */
export async function openHttp2(target: RawTarget, fields: HeaderFields = {}): Promise<ClientHttp2Session> {
  const socket = await openAlpn(target, ["h2"], fields);
  const session = connectHttp2("https://localhost", { createConnection: () => socket, maxSessionMemory: 1_000 });
  session.on("error", () => {});
  await once(session, "remoteSettings");
  return session;
}

/** An answer over HTTP/2, or the code of the reset that took its place. */
export interface Http2Answer {
  readonly status: number;
  readonly headers: readonly string[];
  readonly body: string;
  readonly trailers: readonly string[];
  readonly error: string | undefined;
}

export interface Http2Request {
  readonly method?: string;
  readonly path?: string;
  readonly authority?: string;
  /** Names and values in turn, beside the pseudo-headers. */
  readonly headers?: readonly string[];
  readonly body?: string | Buffer;
}

/** Opens a stream whose body is the test's to send. */
export function openRequest(session: ClientHttp2Session, request: Http2Request): ClientHttp2Stream {
  const { method = "GET", path = "/", authority = "localhost", headers = [] } = request;
  const pseudo = [":method", method, ":scheme", "https", ":authority", authority, ":path", path];
  const stream = session.request([...pseudo, ...headers], { endStream: false });
  stream.on("error", () => {});
  return stream;
}

/** Sends a whole request and reads its answer. */
export function ask(session: ClientHttp2Session, request: Http2Request): Promise<Http2Answer> {
  const stream = openRequest(session, request);
  stream.end(request.body);
  return answerOf(stream);
}

/** Reads an answer to its end, however it ends. */
export async function answerOf(stream: ClientHttp2Stream): Promise<Http2Answer> {
  let status = 0;
  let headers: readonly string[] = [];
  let trailers: readonly string[] = [];
  let error: string | undefined;
  const chunks: Buffer[] = [];
  stream.on("response", (head, _flags, raw: readonly string[]) => {
    status = head[":status"] ?? 0;
    headers = raw;
  });
  stream.on("trailers", (_head: unknown, _flags: number, raw: readonly string[]) => {
    trailers = raw;
  });
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  stream.on("error", (cause) => {
    error = cause.message;
  });
  if (!stream.closed || !stream.destroyed) await once(stream, "close").catch(() => {});
  return { status, headers, body: Buffer.concat(chunks).toString("latin1"), trailers, error };
}
