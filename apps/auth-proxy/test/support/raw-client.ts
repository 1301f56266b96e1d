import { once } from "node:events";
import { connect as connectTcp, type Socket } from "node:net";
import { connect, createSecureContext, type SecureContext, type TLSSocket } from "node:tls";
import { buildProxyHeader, type HeaderFields } from "./proxy-header.ts";

/** The answer on a raw stream. */
export interface RawAnswer {
  readonly status: number;
  readonly head: string;
  readonly body: string;
}

export interface RawTarget {
  readonly port: number;
  readonly caPem: string;
  readonly servername?: string;
}

/** A TLS stream into the auth proxy, behind the header that the agent writes. */
export async function openStream(target: RawTarget, fields: HeaderFields = {}): Promise<TLSSocket> {
  const socket = connectTcp(target.port, "127.0.0.1");
  await once(socket, "connect");
  socket.write(buildProxyHeader(fields));
  return secure(socket, target);
}

export async function secure(socket: Socket, target: RawTarget): Promise<TLSSocket> {
  const stream = connect({ socket, secureContext: contextOf(target), servername: target.servername ?? "localhost" });
  await once(stream, "secureConnect");
  stream.on("error", () => stream.destroy());
  return stream;
}

/** Reading an authority takes as long as a handshake: tests with thousands of streams read it once. */
const contexts = new WeakMap<RawTarget, SecureContext>();

function contextOf(target: RawTarget): SecureContext {
  const known = contexts.get(target) ?? createSecureContext({ ca: target.caPem });
  contexts.set(target, known);
  return known;
}

/** Sends bytes as they are and reads until the other side closes or one whole answer is there. */
export async function sendRaw(target: RawTarget, bytes: string, fields: HeaderFields = {}): Promise<RawAnswer> {
  const stream = await openStream(target, fields);
  try {
    stream.write(Buffer.from(bytes, "latin1"));
    return await readAnswer(stream);
  } finally {
    stream.destroy();
  }
}

/** Reads one answer with a Content-Length or chunked body, or up to the end of the stream. */
export async function readAnswer(stream: TLSSocket): Promise<RawAnswer> {
  let text = "";
  const answer = (): RawAnswer | undefined => parseAnswer(text);
  const onData = (chunk: Buffer): void => {
    text += chunk.toString("latin1");
    if (answer() !== undefined) stream.emit("answered");
  };
  stream.on("data", onData);
  const signal = AbortSignal.timeout(20_000);
  await Promise.race([once(stream, "answered", { signal }), once(stream, "close", { signal })]);
  stream.off("data", onData);
  return answer() ?? { status: 0, head: text, body: "" };
}

function parseAnswer(text: string): RawAnswer | undefined {
  const end = text.indexOf("\r\n\r\n");
  if (end < 0) return undefined;
  const head = text.slice(0, end);
  const rest = text.slice(end + 4);
  const status = Number(/^HTTP\/1\.1 ([0-9]{3})/.exec(head)?.[1] ?? 0);
  if (status === 100) return parseAnswer(rest);
  if (status === 101) return { status, head, body: rest };
  const length = /\r\ncontent-length: *([0-9]+)/i.exec(head)?.[1];
  if (length !== undefined) {
    return rest.length < Number(length) ? undefined : { status, head, body: rest.slice(0, Number(length)) };
  }
  if (/\r\ntransfer-encoding: *chunked/i.test(head)) {
    return rest.endsWith("0\r\n\r\n") ? { status, head, body: rest } : undefined;
  }
  return status === 204 || status === 304 ? { status, head, body: "" } : undefined;
}

/** A request's text: a line, headers in order, an empty line, a body. */
export function requestText(line: string, headers: readonly string[], body = ""): string {
  return [line, ...headers, "", body].join("\r\n");
}
