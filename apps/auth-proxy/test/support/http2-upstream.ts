import { once } from "node:events";
import { createSecureServer, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import type { ServingIdentity } from "../../src/certificates/authority.ts";

/** One stream as it came out of the auth proxy. */
export interface SeenStream {
  readonly raw: readonly string[];
  /** Which connection it came on, in the order of their coming. */
  readonly connection: number;
}

/** Stands where a kube-apiserver is that speaks HTTP/2. */
export interface Http2Upstream extends AsyncDisposable {
  readonly url: string;
  readonly seen: SeenStream[];
  readonly sessions: ServerHttp2Session[];
  answer: (stream: ServerHttp2Stream, raw: readonly string[]) => void;
}

export async function startHttp2Upstream(
  identity: ServingIdentity,
  options: { readonly maxConcurrentStreams: number },
): Promise<Http2Upstream> {
  const seen: SeenStream[] = [];
  const sessions: ServerHttp2Session[] = [];
  const server = createSecureServer({
    cert: identity.certPem,
    key: identity.keyPem,
    settings: { maxConcurrentStreams: options.maxConcurrentStreams },
  });
  server.on("session", (session) => {
    sessions.push(session);
    session.on("error", () => {});
    session.on("stream", (stream: ServerHttp2Stream, _headers, _flags, raw: readonly string[]) => {
      stream.on("error", () => {});
      seen.push({ raw, connection: sessions.indexOf(session) });
      upstream.answer(stream, raw);
    });
  });
  server.on("sessionError", () => {});
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the upstream has no port");
  const upstream: Http2Upstream = {
    url: `https://127.0.0.1:${address.port}`,
    seen,
    sessions,
    answer: (stream) => {
      stream.respond({ ":status": 200 });
      stream.end("{}");
    },
    async [Symbol.asyncDispose]() {
      for (const session of sessions) session.destroy();
      server.close();
      if (server.listening) await once(server, "close").catch(() => {});
    },
  };
  return upstream;
}

/** Every value of a line, in order. */
export function linesOf(seen: SeenStream | undefined, name: string): readonly string[] {
  const raw = seen?.raw ?? [];
  return raw.filter((_, index) => index % 2 === 1 && raw[index - 1] === name);
}
