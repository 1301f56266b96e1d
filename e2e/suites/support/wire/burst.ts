import { once } from "node:events";
import { connect } from "node:http2";
import { Agent, request } from "node:https";
import { buffer } from "node:stream/consumers";
import type { HttpsTarget } from "./https-client.ts";

/** Counts of answers by status; what has none counts under its error. */
export type BurstCounts = Readonly<Record<string, number>>;

/** So many reviews at the same moment, each a POST that no client repeats. */
export type NodeBurst = (
  target: HttpsTarget,
  options: { readonly headers: readonly string[]; readonly count: number },
) => Promise<BurstCounts>;

const PATH = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
const BODY = JSON.stringify({
  apiVersion: "authorization.k8s.io/v1",
  kind: "SelfSubjectAccessReview",
  spec: { resourceAttributes: { verb: "get", resource: "pods", namespace: "default" } },
});

async function count(times: number, ask: () => Promise<string>): Promise<BurstCounts> {
  const counts: Record<string, number> = {};
  const told = (error: unknown): string => (error instanceof Error ? error.message : String(error));
  const outcomes = await Promise.all(Array.from({ length: times }, () => ask().catch(told)));
  for (const outcome of outcomes) counts[outcome] = (counts[outcome] ?? 0) + 1;
  return counts;
}

/** Over HTTP/1.1 a connection for each, as Node's agent opens them. */
export const burstOverHttp1: NodeBurst = async ({ url, ...tls }, { headers, count: times }) => {
  const agent = new Agent({ ...tls, keepAlive: true });
  const { hostname, port } = new URL(url);
  const framing = ["Host", "apiserver", "Content-Length", String(BODY.length)];
  const ask = (): Promise<string> =>
    new Promise((resolve, reject) => {
      const outgoing = request(
        { hostname, port, path: PATH, method: "POST", agent, ...tls, headers: [...framing, ...headers] },
        (answer) => {
          buffer(answer).then(() => resolve(String(answer.statusCode)), reject);
        },
      );
      outgoing.once("error", reject);
      outgoing.end(BODY);
    });
  try {
    return await count(times, ask);
  } finally {
    agent.destroy();
  }
};

/** Over HTTP/2 all on one connection, as many at once as it takes. */
export const burstOverHttp2: NodeBurst = async ({ url, ...tls }, { headers, count: times }) => {
  const session = connect(url, tls);
  session.on("error", () => {}); // each stream's own error says it
  const pseudo = [":method", "POST", ":scheme", "https", ":authority", "apiserver", ":path", PATH];
  const ask = async (): Promise<string> => {
    const stream = session.request([...pseudo, ...headers], { endStream: false });
    const response = once(stream, "response");
    stream.end(BODY);
    const [[head]] = await Promise.all([response, buffer(stream)]);
    return String(head[":status"]);
  };
  try {
    return await count(times, ask);
  } finally {
    session.destroy();
  }
};
