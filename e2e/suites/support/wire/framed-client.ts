import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { buffer } from "node:stream/consumers";
import { connect as connectTls, type TLSSocket } from "node:tls";
import type { HttpsTarget } from "./https-client.ts";

/** A request whose body is framed by hand. */
export interface FramedRequest {
  readonly method: string;
  readonly path: string;
  /** Names and values in turn. */
  readonly headers: readonly string[];
  /** The pieces of the body, none of which is empty; no length is told. */
  readonly pieces: readonly string[];
  /** Names and values in turn. */
  readonly trailers: readonly string[];
}

export interface FramedAnswer {
  readonly status: number;
  /** Lines in lower case, sorted, those of one hop left out. */
  readonly headers: readonly string[];
  readonly body: string;
  readonly trailers: readonly string[];
}

const HOP: ReadonlySet<string> = new Set(["connection", "transfer-encoding", "content-length", "date", "trailer"]);

/** Sends a chunked body over HTTP/1.1. */
export async function sendChunked(target: HttpsTarget, request: FramedRequest): Promise<FramedAnswer> {
  const socket = await dial(target);
  const lines = linesOf([...request.headers, "Transfer-Encoding", "chunked", "Connection", "close"]);
  const chunks = request.pieces.map((piece) => `${Buffer.byteLength(piece).toString(16)}\r\n${piece}\r\n`);
  const head = `${request.method} ${request.path} HTTP/1.1\r\nHost: apiserver\r\n${lines}\r\n`;
  socket.write(`${head}${chunks.join("")}0\r\n${linesOf(request.trailers)}\r\n`);
  return parseAnswer((await buffer(socket)).toString("latin1"));
}

/** The same over HTTP/2, where a body ends with its stream. */
export async function sendUnsized(target: HttpsTarget, request: FramedRequest): Promise<FramedAnswer> {
  const { url, ...tls } = target;
  const session = connectHttp2(url, tls);
  session.on("error", () => {}); // the stream's own error says it
  try {
    const pseudo = [":method", request.method, ":scheme", "https", ":authority", "apiserver", ":path", request.path];
    const stream = session.request([...pseudo, ...request.headers], { endStream: false, waitForTrailers: true });
    stream.once("wantTrailers", () => stream.sendTrailers(Object.fromEntries(pairs(request.trailers))));
    let trailers: readonly string[] = [];
    stream.once("trailers", (_head: unknown, _flags: number, raw: readonly string[]) => {
      trailers = raw;
    });
    const response = once(stream, "response");
    for (const piece of request.pieces) stream.write(piece);
    stream.end();
    const [[head], body] = await Promise.all([response, buffer(stream)]);
    const headers = Object.entries(head).flatMap(([name, value]) =>
      [value].flat().map((one): readonly [string, string] => [name, String(one)]),
    );
    return {
      status: Number(head[":status"]),
      headers: sorted(headers.filter(([name]) => !name.startsWith(":"))),
      body: body.toString("latin1"),
      trailers: sorted(pairs(trailers)),
    };
  } finally {
    session.destroy();
  }
}

/** A GET that asks for another protocol. */
export interface UpgradeRequest {
  readonly path: string;
  /** Names and values in turn. */
  readonly headers: readonly string[];
  /** Bytes to say once the protocol has changed, Latin-1; an echo is read until it has come back. */
  readonly said: string;
}

/** Asks for an upgrade over HTTP/1.1 and reads on until what was said came back, or the connection ends. */
export async function askUpgrade(target: HttpsTarget, request: UpgradeRequest): Promise<FramedAnswer> {
  const socket = await dial(target);
  socket.write(`GET ${request.path} HTTP/1.1\r\nHost: apiserver\r\n${linesOf(request.headers)}\r\n`);
  let text = "";
  let hasSaid = false;
  for await (const chunk of socket) {
    text += String(chunk.toString("latin1"));
    const [head = "", rest = ""] = cut(text, "\r\n\r\n");
    if (!hasSaid && head.startsWith("HTTP/1.1 101") && rest !== "") {
      hasSaid = true;
      socket.write(request.said, "latin1");
    }
    if (hasSaid ? rest.endsWith(`\n${request.said}`) : isWhole(head, rest)) break;
  }
  socket.destroy();
  return parseAnswer(text);
}

/** Whether a refusal has come to its end, by the length that it tells. */
function isWhole(head: string, rest: string): boolean {
  const length = /^content-length: ([0-9]+)$/im.exec(head)?.[1];
  return length !== undefined && rest.length >= Number(length);
}

async function dial({ url, ...tls }: HttpsTarget): Promise<TLSSocket> {
  const { hostname, port } = new URL(url);
  const socket = connectTls({ host: hostname, port: Number(port), ...tls, ALPNProtocols: ["http/1.1"] });
  await once(socket, "secureConnect");
  return socket;
}

function parseAnswer(text: string): FramedAnswer {
  const [head = "", rest = ""] = cut(text, "\r\n\r\n");
  const [first = "", ...lines] = head.split("\r\n");
  const headers = lines.map((line) => cut(line, ": "));
  const isChunked = headers.some(([name, value]) => name.toLowerCase() === "transfer-encoding" && value === "chunked");
  const { body, trailers } = isChunked ? unchunk(rest) : { body: rest, trailers: [] };
  return { status: Number(first.split(" ")[1]), headers: sorted(headers), body, trailers: sorted(trailers) };
}

function unchunk(text: string): { readonly body: string; readonly trailers: readonly (readonly [string, string])[] } {
  let body = "";
  let at = 0;
  for (;;) {
    const end = text.indexOf("\r\n", at);
    const size = Number.parseInt(text.slice(at, end), 16);
    if (end < 0 || Number.isNaN(size)) throw new Error("the answer breaks off");
    if (size === 0) {
      const lines = text.slice(end + 2).split("\r\n");
      return { body, trailers: lines.filter((line) => line !== "").map((line) => cut(line, ": ")) };
    }
    body += text.slice(end + 2, end + 2 + size);
    at = end + 4 + size;
  }
}

function cut(text: string, at: string): readonly [string, string] {
  const index = text.indexOf(at);
  return index < 0 ? [text, ""] : [text.slice(0, index), text.slice(index + at.length)];
}

function pairs(list: readonly string[]): readonly (readonly [string, string])[] {
  return list.flatMap((name, index) => (index % 2 === 0 ? [[name, list[index + 1] ?? ""] as const] : []));
}

const linesOf = (list: readonly string[]): string =>
  pairs(list)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join("");

function sorted(lines: readonly (readonly [string, string])[]): readonly string[] {
  return lines
    .map(([name, value]): readonly [string, string] => [name.toLowerCase(), value])
    .filter(([name]) => !HOP.has(name))
    .map(([name, value]) => `${name}: ${value}`)
    .sort();
}
