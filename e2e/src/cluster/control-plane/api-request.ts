import { request } from "node:https";
import type { Identity } from "./certificates.ts";

/** A request to the apiserver with a client certificate. */
export interface ApiRequest {
  readonly url: string;
  readonly caPem: string;
  readonly identity: Identity;
  readonly signal: AbortSignal;
}

/** The status of a GET, or undefined when nothing answers. */
export function getStatus(options: ApiRequest): Promise<number | undefined> {
  return new Promise((resolve) => {
    const outgoing = request(
      options.url,
      {
        ca: options.caPem,
        cert: options.identity.certPem,
        key: options.identity.keyPem,
        agent: false,
        signal: options.signal,
      },
      (response) => {
        response.resume();
        response.once("close", () => resolve(response.statusCode));
      },
    );
    outgoing.once("error", () => resolve(undefined));
    outgoing.end();
  });
}
