import { ConnectError } from "@cluster-connect/protocol";
import { parseJsonObject } from "../json.ts";
import { redact } from "../tokens/redact.ts";
import type { EntraAnswer, EntraDeps } from "./entra-traffic.ts";

const MAX_CHARACTERS = 240;
/** The person has to sign in again: the refresh token ended, or a policy asks for more. */
const ASK_PERSON = new Set(["invalid_grant", "interaction_required", "login_required", "consent_required"]);
const HINTS: Readonly<Record<string, string>> = {
  invalid_client: "Check --client-id and the secret, certificate or federated token that belong to it.",
  unauthorized_client: "Check --client-id and --tenant, and that the application lets clients sign in this way.",
  authorization_declined: "Sign in again and agree.",
  access_denied: "Sign in again and agree, or ask the tenant's administrator for consent.",
  expired_token: "Run `cluster-connect login` again and sign in before the code expires.",
  invalid_resource: "Check the audiences that the relay hands out: each is an application of the tenant.",
  invalid_scope: "Check the audiences that the relay hands out: each is an application of the tenant.",
};

export interface EntraErrorOptions {
  readonly signal: AbortSignal;
  /** A person's kept sign-in was used: a refusal means that it ran out. */
  readonly renewal: boolean;
}

/** The failure in one line: from Entra's answer or the connection first, and only then from the library's error. */
export function entraError(
  error: unknown,
  answer: EntraAnswer,
  options: EntraErrorOptions,
  deps: EntraDeps,
): ConnectError {
  options.signal.throwIfAborted();
  if (error instanceof ConnectError) return error;
  if (answer.kind === "unreachable") return deps.unreachable(answer.host, answer.cause);
  if (answer.kind === "answered" && answer.status >= 400 && deps.isTransient(answer.status, errorOf(answer.body))) {
    return new ConnectError("CC_ISSUER_UNREACHABLE", `${answer.host} answers with HTTP status ${answer.status}`, {
      cause: error,
    });
  }
  if (answer.kind === "answered" && answer.status >= 400) return refusal(answer, error, options.renewal);
  if (isNetworkError(error)) return deps.unreachable("Azure's metadata service", error);
  const name = error instanceof Error ? error.name : "";
  const text = oneLine(error instanceof Error ? error.message : "it gave no reason");
  if (options.renewal && name === "AuthenticationRequiredError") {
    return new ConnectError("CC_NOT_LOGGED_IN", "The kept sign-in at Entra cannot be renewed", { cause: error });
  }
  return new ConnectError("CC_LOGIN_FAILED", `Entra gave no token: ${text}`, { cause: error });
}

function errorOf(body: string): unknown {
  return parseJsonObject(body)?.["error"];
}

function refusal(answer: Extract<EntraAnswer, { kind: "answered" }>, cause: unknown, renewal: boolean): ConnectError {
  const { error, error_description: description } = parseJsonObject(answer.body) ?? {};
  const kind = typeof error === "string" ? error : `HTTP status ${answer.status}`;
  const text = typeof description === "string" ? `${kind}: ${description}` : kind;
  const code = renewal && ASK_PERSON.has(kind) ? "CC_NOT_LOGGED_IN" : "CC_LOGIN_FAILED";
  const hint = HINTS[kind];
  return new ConnectError(code, `${answer.host} refused: ${oneLine(text)}`, {
    cause,
    ...(hint === undefined ? {} : { hint }),
  });
}

/** The words of others, without the ids and times that Entra puts after them, without tokens and control characters. */
function oneLine(text: string): string {
  const [first = ""] = redact(text).split(/\s*(?:Trace ID|Correlation ID|Timestamp):/);
  const line = first.replaceAll(/[\s\p{Cc}]+/gu, " ").trim();
  return line.length > MAX_CHARACTERS ? `${line.slice(0, MAX_CHARACTERS)}…` : line;
}

/** The library asks the metadata service with a client of its own, which cannot be watched. */
function isNetworkError(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined;
  return cause instanceof Error && "errorCode" in cause && cause.errorCode === "network_error";
}
