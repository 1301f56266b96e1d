import { request } from "node:https";

/** A server and how we are known there. */
export interface HttpsTarget {
  readonly url: string;
  readonly ca: string;
  readonly servername?: string;
  readonly cert?: string;
  readonly key?: string;
}

export interface HttpsRequest {
  readonly path: string;
  readonly method?: string;
  /** Names and values in turn, sent as they are. */
  readonly headers?: readonly string[];
  readonly body?: string;
}

export interface HttpsAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** The bytes as they came, nothing unpacked. */
  readonly body: Buffer;
}

/** One request on a stream of its own; rejects when the answer breaks off. */
export function sendHttps(
  target: HttpsTarget,
  { path, method = "GET", headers = [], body }: HttpsRequest,
): Promise<HttpsAnswer> {
  const { url, ...tls } = target;
  const { hostname, port } = new URL(url);
  const framing = body === undefined ? [] : ["Content-Length", String(Buffer.byteLength(body))];
  return new Promise((resolve, reject) => {
    const outgoing = request(
      { hostname, port, path, method, agent: false, ...tls, headers: ["Host", "apiserver", ...headers, ...framing] },
      (answer) => {
        const chunks: Buffer[] = [];
        answer.on("data", (chunk: Buffer) => chunks.push(chunk));
        answer.once("end", () => {
          resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: Buffer.concat(chunks) });
        });
        answer.once("error", reject);
      },
    );
    outgoing.once("error", reject);
    // A string would be joined with the head, and the head's Latin-1 be written as UTF-8.
    outgoing.end(body === undefined ? undefined : Buffer.from(body));
  });
}
