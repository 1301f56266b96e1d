import type { ClientRequest, IncomingMessage } from "node:http";
import { ConnectError } from "@cluster-connect/protocol";
import type { Admitted } from "./admission.ts";
import type { ApiserverClient } from "./apiserver-client.ts";
import type { ServiceAccount } from "./service-account.ts";
import type { Upstream } from "./upstream.ts";

/** What a request to the apiserver needs. */
export interface ExchangeDeps {
  readonly upstream: Upstream;
  readonly account: ServiceAccount;
  readonly apiserver: ApiserverClient;
}

export interface Exchange {
  readonly outgoing: ClientRequest;
  readonly token: string;
}

/** Opens the request to the apiserver with our token and the caller's identity. */
export function openExchange(
  request: { readonly method: string; readonly target: string },
  admitted: Admitted,
  deps: Pick<ExchangeDeps, "upstream" | "account">,
): Exchange {
  const token = deps.account.token();
  const headers = admitted.headers({ token, host: deps.upstream.host });
  const upgrade = admitted.upgrade !== undefined;
  return { outgoing: deps.upstream.open({ ...request, headers, upgrade }), token };
}

/**
 * Whether an answer of 401 is about our own token rather than one that a proxied service gave.
 *
 * A request of our own tells: the apiserver refuses a bad token there too.
 */
export async function isOwnTokenRefused(
  answer: IncomingMessage,
  token: string,
  deps: ExchangeDeps,
  signal: AbortSignal,
): Promise<boolean> {
  if (answer.statusCode !== 401) return false;
  if (deps.account.token() !== token) return true;
  const { status } = await deps.apiserver.get("/version", { signal });
  return status === 401 || deps.account.token() !== token;
}

/** What the caller is told when our own token is refused: it is not their credential that is bad. */
export function ownTokenRefused(): ConnectError {
  return new ConnectError("CC_APISERVER_UNREACHABLE", "The kube-apiserver refuses the auth proxy's own token");
}
