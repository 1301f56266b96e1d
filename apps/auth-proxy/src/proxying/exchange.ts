import type { ClientRequest } from "node:http";
import { ConnectError } from "@cluster-connect/protocol";
import type { Admitted } from "../admission/admit.ts";
import type { Framing } from "../admission/rules.ts";
import type { UpstreamCall } from "../apiserver/call.ts";
import type { ApiserverClient } from "../apiserver/client.ts";
import type { ServiceAccount } from "../apiserver/service-account.ts";
import type { Upstream } from "../apiserver/upstream.ts";

/** Dependencies of a request to the apiserver. */
export interface ExchangeDeps {
  readonly upstream: Upstream;
  readonly account: ServiceAccount;
  readonly apiserver: ApiserverClient;
}

interface Line {
  readonly method: string;
  readonly target: string;
}

/** Opens an upgrade to the apiserver with our token and the caller's identity. */
export function openUpgrade(
  line: Line,
  admitted: Admitted,
  deps: Pick<ExchangeDeps, "upstream" | "account">,
): { readonly outgoing: ClientRequest; readonly token: string } {
  const token = deps.account.token();
  const headers = admitted.headers({ token, host: deps.upstream.host });
  return { outgoing: deps.upstream.open({ ...line, headers, upgrade: true }), token };
}

/** Opens any other request to the apiserver with our token and the caller's identity. */
export async function openCall(
  line: Line,
  admitted: Admitted,
  options: { readonly signal: AbortSignal },
  deps: Pick<ExchangeDeps, "upstream" | "account">,
): Promise<{ readonly call: UpstreamCall; readonly token: string }> {
  const token = deps.account.token();
  const headers = admitted.headers({ token, host: deps.upstream.host });
  const { issuer, subject } = admitted.principal;
  const caller = JSON.stringify([issuer, subject]);
  const bodiless = hasNoBody(admitted.framing);
  return { call: await deps.upstream.call({ ...line, headers, caller, bodiless }, options), token };
}

function hasNoBody(framing: Framing): boolean {
  return framing.kind === "none" || (framing.kind === "length" && framing.bytes === 0);
}

/**
 * Whether an answer of 401 is about our own token rather than one that a proxied service gave.
 *
 * A request of our own tells: the apiserver refuses a bad token there too.
 */
export async function isOwnTokenRefused(
  status: number,
  token: string,
  deps: ExchangeDeps,
  signal: AbortSignal,
): Promise<boolean> {
  if (status !== 401) return false;
  if (deps.account.token() !== token) return true;
  const own = await deps.apiserver.get("/version", { signal });
  return own.status === 401 || deps.account.token() !== token;
}

/** The caller's error when our own token is refused: their credential is not the bad one. */
export function ownTokenRefused(): ConnectError {
  return new ConnectError("CC_APISERVER_UNREACHABLE", "The kube-apiserver refuses the auth proxy's own token");
}
