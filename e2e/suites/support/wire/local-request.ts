import { request } from "node:https";
import { buffer } from "node:stream/consumers";

/** An answer of the local port. */
export interface LocalAnswer {
  readonly status: number;
  readonly body: Buffer;
}

/** Asks as `curl -k https://127.0.0.1:PORT…` does: no server name, no check of the certificate. */
export function curlInsecure(port: number, path: string, token?: string): Promise<LocalAnswer> {
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const answer = Promise.withResolvers<LocalAnswer>();
  const options = { host: "127.0.0.1", port, path, headers, agent: false, rejectUnauthorized: false } as const;
  const outgoing = request(options, (response) => {
    const status = response.statusCode ?? 0;
    answer.resolve(buffer(response).then((body) => ({ status, body })));
  });
  outgoing.once("error", answer.reject);
  outgoing.end();
  return answer.promise;
}
