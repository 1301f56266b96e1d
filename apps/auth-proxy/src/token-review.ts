import { createHash } from "node:crypto";
import { type Claims, type Principal, parseServiceAccount } from "@cluster-connect/auth";
import { ConnectError } from "@cluster-connect/protocol";
import { type ApiserverClient, fieldOf } from "./apiserver-client.ts";
import { TOKEN_REVIEW_ENTRIES, TOKEN_REVIEW_KEPT_MS } from "./limits.ts";

/** Asks the cluster itself about a token of a ServiceAccount. */
export interface TokenReviewer {
  /**
   * @throws ConnectError `CC_TOKEN_INVALID` or `CC_TOKEN_AUDIENCE` when the cluster does not accept it,
   *   `CC_IDENTITY_REFUSED` when it is not a ServiceAccount's, `CC_APISERVER_UNREACHABLE` when it cannot be asked.
   */
  review(token: string, options: { readonly signal: AbortSignal }): Promise<Principal>;
}

interface Kept {
  readonly principal: Principal;
  readonly until: number;
}

const PATH = "/apis/authentication.k8s.io/v1/tokenreviews";

/**
 * Positive answers are kept briefly and in bounded number, by the token's hash; negative ones are not kept.
 *
 * @param options.audiences The token must be for one of them; the apiserver's own when empty.
 */
export function createTokenReviewer(
  options: { readonly audiences: readonly string[] },
  deps: { readonly apiserver: ApiserverClient; readonly now: () => number },
): TokenReviewer {
  const kept = new Map<string, Kept>();

  function remember(key: string, principal: Principal): void {
    const until = Math.min(deps.now() + TOKEN_REVIEW_KEPT_MS, principal.expiresAt.getTime());
    kept.set(key, { principal, until });
    for (const oldest of kept.keys()) {
      if (kept.size <= TOKEN_REVIEW_ENTRIES) break;
      kept.delete(oldest);
    }
  }

  return {
    async review(token, { signal }) {
      const key = createHash("sha256").update(token).digest("base64url");
      const found = kept.get(key);
      if (found !== undefined && deps.now() < found.until) return found.principal;
      kept.delete(key);
      const { audiences } = options;
      const spec = audiences.length === 0 ? { token } : { token, audiences };
      const review = { apiVersion: "authentication.k8s.io/v1", kind: "TokenReview", spec };
      const status = fieldOf(await deps.apiserver.create(PATH, review, { signal }), "status");
      const principal = readStatus(status, audiences, token);
      remember(key, principal);
      return principal;
    },
  };
}

function readStatus(status: unknown, audiences: readonly string[], token: string): Principal {
  if (fieldOf(status, "authenticated") !== true) throw invalid("the cluster does not accept it (TokenReview)");
  const granted = fieldOf(status, "audiences");
  const accepted = Array.isArray(granted) && audiences.some((audience) => granted.includes(audience));
  if (audiences.length > 0 && !accepted) {
    throw new ConnectError(
      "CC_TOKEN_AUDIENCE",
      "The token is not for this server: TokenReview names no audience of it",
    );
  }
  const username = fieldOf(status, "user", "username");
  const uid = fieldOf(status, "user", "uid");
  if (typeof username !== "string" || parseServiceAccount(username) === undefined) {
    throw new ConnectError("CC_IDENTITY_REFUSED", "The caller's identity is refused: it is not a ServiceAccount");
  }
  const claims = readClaims(token);
  const { iss, exp } = claims;
  if (typeof exp !== "number" || typeof iss !== "string") throw invalid("it has no end (exp) or no issuer (iss)");
  // The apiserver knows the groups of a ServiceAccount by itself.
  const identity = { username, groups: [], extra: {}, ...(typeof uid === "string" && uid !== "" ? { uid } : {}) };
  return { ...identity, issuer: iss, subject: username, expiresAt: new Date(exp * 1_000), claims };
}

/** Claims of a token whose signature the apiserver has just checked. */
function readClaims(token: string): Claims & { readonly iss?: unknown; readonly exp?: unknown } {
  try {
    const claims: unknown = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString("utf8"));
    if (typeof claims === "object" && claims !== null) return { ...claims };
  } catch {
    // Told below.
  }
  throw invalid("it is not a JWT");
}

function invalid(reason: string): ConnectError {
  return new ConnectError("CC_TOKEN_INVALID", `The ServiceAccount token is refused: ${reason}`);
}
