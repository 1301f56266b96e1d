import { once } from "node:events";
import { connect, type IncomingHttpHeaders } from "node:http2";
import { buffer } from "node:stream/consumers";
import type { HttpsAnswer, HttpsRequest, HttpsTarget } from "./https-client.ts";

/** The same over HTTP/2, on a connection of its own; rejects when the answer breaks off. */
export async function sendHttp2(
  target: HttpsTarget,
  { path, method = "GET", headers = [], body }: HttpsRequest,
): Promise<HttpsAnswer> {
  const { url, ...tls } = target;
  const session = connect(url, tls);
  session.on("error", () => {}); // the stream's own error says it
  try {
    const framing = body === undefined ? [] : ["Content-Length", String(Buffer.byteLength(body))];
    const pseudo = [":method", method, ":scheme", "https", ":authority", "apiserver", ":path", path];
    const stream = session.request([...pseudo, ...headers, ...framing], { endStream: body === undefined });
    const response = once(stream, "response");
    if (body !== undefined) stream.end(body);
    const [[head], bytes] = await Promise.all([response, buffer(stream)]);
    return { status: Number(head[":status"]), headers: ordinary(head), body: bytes };
  } finally {
    session.destroy();
  }
}

function ordinary(head: IncomingHttpHeaders): HttpsAnswer["headers"] {
  return Object.fromEntries(Object.entries(head).filter(([name]) => !name.startsWith(":")));
}
