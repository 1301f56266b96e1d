import type { IncomingMessage } from "node:http";
import { type Principal, parseBearer, type TokenVerifier } from "@cluster-connect/auth";
import { ConnectError } from "@cluster-connect/protocol";

/** Verifies the sender of a request. */
export type Authenticate = (
  request: Pick<IncomingMessage, "headersDistinct">,
  options: { readonly signal: AbortSignal },
) => Promise<Principal>;

/** Callers of requests whose token was good, for the audit of a refusal that comes after it. */
export type RequestCallers = WeakMap<object, Principal>;

/**
 * Verifies the one bearer token of a request for the relay's audience. The verifier's leeway is for clocks that differ;
 * here a token counts until its own end, as the session it opens ends then.
 *
 * @throws ConnectError of the verifier, `CC_TOKEN_INVALID` for two Authorization headers, `CC_TOKEN_EXPIRED`.
 */
export function createAuthenticate(deps: {
  readonly verifier: TokenVerifier;
  readonly now: () => number;
  readonly callers: Pick<RequestCallers, "set">;
}): Authenticate {
  return async (request, { signal }) => {
    const headers = request.headersDistinct["authorization"] ?? [];
    if (headers.length > 1) throw new ConnectError("CC_TOKEN_INVALID", "The request has two Authorization headers");
    const principal = await deps.verifier.verify(parseBearer(headers[0]), { signal });
    deps.callers.set(request, principal);
    if (principal.expiresAt.getTime() > deps.now()) return principal;
    throw new ConnectError("CC_TOKEN_EXPIRED", `The token has expired at ${principal.expiresAt.toISOString()}`);
  };
}
