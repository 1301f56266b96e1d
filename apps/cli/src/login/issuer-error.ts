import { redact } from "@cluster-connect/auth";
import { ConnectError, type ErrorCode } from "@cluster-connect/protocol";
import {
  AuthorizationResponseError,
  ClientError,
  ResponseBodyError,
  WWWAuthenticateChallengeError,
} from "openid-client";
import { networkError } from "../relay/network-error.ts";
import { isTransientAnswer } from "../tokens/transient-answer.ts";

const MAX_CHARACTERS = 300;
const DENIED = "Sign in again and agree, or ask the issuer's administrator.";
const HINTS: Readonly<Record<string, string>> = {
  access_denied: DENIED,
  consent_required: DENIED,
  expired_token: "Run `cluster-connect login` again and sign in before the code expires.",
  invalid_client: "Check the client id and secret, and that the issuer lets this client sign in this way.",
  unauthorized_client: "Have this way of signing in enabled for the client, or try --device-code.",
  invalid_target: "Have the relay's and the clusters' audiences allowed for this client at the issuer.",
  invalid_scope: "Check the scopes and audiences that the relay hands out.",
};

/**
 * The issuer's failure in one line.
 *
 * @param refused the code when the issuer says no to a grant: a login that ran out, or a sign-in that failed.
 */
export function issuerError(issuer: string, error: unknown, refused: ErrorCode = "CC_LOGIN_FAILED"): ConnectError {
  if (error instanceof ConnectError) return error;
  const host = URL.parse(issuer)?.host ?? "the issuer";
  if (error instanceof ResponseBodyError || error instanceof AuthorizationResponseError) {
    const { error: kind, error_description: description } = error;
    const text = description === undefined || description === "" ? kind : `${kind}: ${description}`;
    if (isTransientAnswer(error instanceof ResponseBodyError ? error.status : undefined, kind)) {
      return new ConnectError("CC_ISSUER_UNREACHABLE", `${host} cannot answer now: ${issuerText(text)}`, {
        cause: error,
      });
    }
    const code = kind === "invalid_grant" ? refused : "CC_LOGIN_FAILED";
    const hint = HINTS[kind];
    return new ConnectError(code, `${host} refused: ${issuerText(text)}`, {
      cause: error,
      ...(hint === undefined ? {} : { hint }),
    });
  }
  if (error instanceof WWWAuthenticateChallengeError) {
    return new ConnectError("CC_LOGIN_FAILED", `${host} refused the client with status ${error.status}`, {
      cause: error,
    });
  }
  const status = statusOf(error);
  if (status !== undefined && isTransientAnswer(status, undefined)) {
    return new ConnectError("CC_ISSUER_UNREACHABLE", `${host} answers with HTTP status ${status}`, { cause: error });
  }
  if (error instanceof ClientError && !isTimeout(error)) {
    return new ConnectError(
      "CC_LOGIN_FAILED",
      `${host} does not answer as an issuer does: ${issuerText(innermost(error))}`,
      {
        cause: error,
      },
    );
  }
  return networkError(host, "CC_ISSUER_UNREACHABLE", error);
}

/** The library wraps what was wrong, such as the name of a field, into sentences that say less. */
function innermost(error: Error): string {
  let found = error.message;
  let current: unknown = error;
  for (let depth = 0; depth < 8 && current instanceof Error; depth++) {
    if (current.message !== "") found = current.message;
    current = current.cause;
  }
  return found;
}

/** The library keeps an answer that it could not use among the causes. */
function statusOf(error: unknown): number | undefined {
  let current = error;
  for (let depth = 0; depth < 4 && current instanceof Error; depth++) current = current.cause;
  return current instanceof Response ? current.status : undefined;
}

function isTimeout(error: ClientError): boolean {
  return error.code === "OAUTH_TIMEOUT";
}

/** An issuer's own words, without line breaks, tokens or control characters. */
export function issuerText(text: string): string {
  const line = redact(text)
    .replaceAll(/[\s\p{Cc}]+/gu, " ")
    .trim();
  return line.length > MAX_CHARACTERS ? `${line.slice(0, MAX_CHARACTERS)}…` : line;
}
