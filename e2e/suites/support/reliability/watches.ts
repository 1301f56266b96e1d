import { request } from "node:https";
import { pollUntil } from "../../../src/process/poll.ts";

/** A watch through a local proxy, on a connection of its own that TLS ends at the auth proxy. */
export interface Watch {
  /** Text that came so far. */
  heard(): string;
  /** Whether the answer was ended as it should be, or broke off in the middle; and when, by `performance.now()`. */
  readonly ended: Promise<{ readonly how: "complete" | "broken"; readonly at: number }>;
  close(): void;
}

const PATH = "/api/v1/namespaces/default/configmaps?watch=true";
const OK = 200;

/** Opens so many watches of the config maps in `default`; each has had an answer. */
export function openWatches(port: number, token: string, count: number): Promise<readonly Watch[]> {
  return Promise.all(Array.from({ length: count }, () => openWatch(port, token)));
}

function openWatch(port: number, token: string): Promise<Watch> {
  const opened = Promise.withResolvers<Watch>();
  const headers = { authorization: `Bearer ${token}` };
  const options = { host: "127.0.0.1", port, path: PATH, headers, agent: false, rejectUnauthorized: false } as const;
  const outgoing = request(options, (response) => {
    if (response.statusCode !== OK) opened.reject(new Error(`a watch was answered with ${response.statusCode}`));
    let text = "";
    const ended: Watch["ended"] = new Promise((resolve) => {
      response.once("close", () => resolve({ how: response.complete ? "complete" : "broken", at: performance.now() }));
    });
    response.on("error", () => undefined);
    response.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
    });
    opened.resolve({ heard: () => text, ended, close: () => outgoing.destroy() });
  });
  outgoing.on("error", opened.reject);
  outgoing.end();
  return opened.promise;
}

/** Waits until each has heard of an object of this name, once. */
export async function allHear(
  watches: readonly Watch[],
  name: string,
  options: { readonly signal: AbortSignal },
): Promise<void> {
  const told = `"name":"${name}"`;
  await pollUntil(async () => (watches.every((watch) => watch.heard().includes(told)) ? true : undefined), options);
}
