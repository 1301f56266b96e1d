import { createHash } from "node:crypto";
import { type Claims, type Principal, parseServiceAccount } from "@cluster-connect/auth";
import { createBoundedMap, raceAbort } from "@cluster-connect/base";
import { ConnectError, type ErrorCode } from "@cluster-connect/protocol";
import { type ApiserverClient, fieldOf } from "../apiserver/client.ts";
import {
  TOKEN_REFUSAL_KEPT_MS,
  TOKEN_REVIEW_ENTRIES,
  TOKEN_REVIEW_KEPT_MS,
  TOKEN_REVIEWS,
  TOKEN_REVIEWS_PER_CALLER,
  TOKEN_REVIEWS_WAITING,
  TOKEN_REVIEWS_WAITING_PER_CALLER,
} from "../limits/limits.ts";
import { createTurns } from "../limits/turns.ts";

/** Asks the cluster itself about a token of a ServiceAccount. */
export interface TokenReviewer {
  /**
   * @param options.caller The stream's caller as the relay knows them, for their share of the reviews.
   * @throws ConnectError `CC_TOKEN_INVALID` or `CC_TOKEN_AUDIENCE` when the cluster does not accept it,
   *   `CC_IDENTITY_REFUSED` when it is not a ServiceAccount's, `CC_APISERVER_UNREACHABLE` when it cannot be asked,
   *   `CC_LIMIT_REACHED` when too many others wait for their review.
   */
  review(token: string, options: { readonly signal: AbortSignal; readonly caller: string }): Promise<Principal>;
}

/** The cluster's answer about a token, kept for a while. */
interface Verdict {
  readonly result: Principal | ConnectError;
  readonly until: number;
}

/** A review under way, shared by the requests that came with the same token. */
interface SharedReview {
  readonly principal: Promise<Principal>;
  readonly abandoned: AbortController;
  waiting: number;
}

const PATH = "/apis/authentication.k8s.io/v1/tokenreviews";
/** Codes that say something about the token itself. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set(["CC_TOKEN_INVALID", "CC_TOKEN_AUDIENCE", "CC_IDENTITY_REFUSED"]);

/**
 * Answers are kept briefly and in bounded number, by the token's hash. Refusals have a store of their own, so that
 * invented tokens push no good one out.
 *
 * @param options.audiences The token must be for one of them; the apiserver's own when empty.
 */
export function createTokenReviewer(
  options: { readonly audiences: readonly string[] },
  deps: { readonly apiserver: ApiserverClient; readonly now: () => number },
): TokenReviewer {
  const { audiences } = options;
  const accepted = createBoundedMap<string, Verdict>(TOKEN_REVIEW_ENTRIES);
  const refused = createBoundedMap<string, Verdict>(TOKEN_REVIEW_ENTRIES);
  const underWay = new Map<string, SharedReview>();
  const turns = createTurns("reviews of tokens", {
    all: TOKEN_REVIEWS,
    perKey: TOKEN_REVIEWS_PER_CALLER,
    waiting: TOKEN_REVIEWS_WAITING,
    waitingPerKey: TOKEN_REVIEWS_WAITING_PER_CALLER,
  });

  async function ask(token: string, caller: string, signal: AbortSignal): Promise<Principal> {
    const leave = await turns.take(caller, { signal });
    try {
      const spec = audiences.length === 0 ? { token } : { token, audiences };
      const review = { apiVersion: "authentication.k8s.io/v1", kind: "TokenReview", spec };
      const status = fieldOf(await deps.apiserver.create(PATH, review, { signal }), "status");
      return readStatus(status, audiences, token);
    } finally {
      leave();
    }
  }

  async function askAndRemember(key: string, token: string, caller: string, signal: AbortSignal): Promise<Principal> {
    try {
      const principal = await ask(token, caller, signal);
      const until = Math.min(deps.now() + TOKEN_REVIEW_KEPT_MS, principal.expiresAt.getTime());
      accepted.set(key, { result: principal, until });
      return principal;
    } catch (error) {
      if (error instanceof ConnectError && REFUSALS.has(error.code)) {
        refused.set(key, { result: error, until: deps.now() + TOKEN_REFUSAL_KEPT_MS });
      }
      throw error;
    } finally {
      underWay.delete(key);
    }
  }

  function begin(key: string, token: string, caller: string): SharedReview {
    const abandoned = new AbortController();
    const principal = askAndRemember(key, token, caller, abandoned.signal);
    const review: SharedReview = { principal, abandoned, waiting: 0 };
    underWay.set(key, review);
    return review;
  }

  return {
    async review(token, { signal, caller }) {
      signal.throwIfAborted();
      const key = createHash("sha256").update(token).digest("base64url");
      const verdict = [accepted.get(key), refused.get(key)].find((known) => known && deps.now() < known.until);
      if (verdict?.result instanceof ConnectError) throw verdict.result;
      if (verdict !== undefined) return verdict.result;
      const shared = underWay.get(key) ?? begin(key, token, caller);
      shared.waiting += 1;
      try {
        return await raceAbort(shared.principal, signal);
      } finally {
        shared.waiting -= 1;
        // No other request waits for this review.
        if (shared.waiting === 0) shared.abandoned.abort(signal.reason);
      }
    },
  };
}

function readStatus(status: unknown, audiences: readonly string[], token: string): Principal {
  if (fieldOf(status, "authenticated") !== true) throw invalidToken("the cluster does not accept it (TokenReview)");
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
  if (typeof exp !== "number" || typeof iss !== "string") throw invalidToken("it has no end (exp) or no issuer (iss)");
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
  throw invalidToken("it is not a JWT");
}

function invalidToken(reason: string): ConnectError {
  return new ConnectError("CC_TOKEN_INVALID", `The ServiceAccount token is refused: ${reason}`);
}
