import { ConnectError } from "@cluster-connect/protocol";
import type { JSONWebKeySet, JWK } from "jose";
import { isObject, parseJsonObject } from "../json.ts";
import { MAX_ISSUER_KEYS } from "../limits.ts";
import type { TrustedIssuer } from "../tokens/issuers.ts";
import { type FetchDocument, isFetchable } from "./document.ts";

/**
 * The issuer's public keys: its discovery document first, which must name exactly this issuer, then the key set.
 *
 * @throws ConnectError `CC_ISSUER_UNREACHABLE` naming the document that is missing or wrong.
 */
export async function fetchKeySet(
  issuer: TrustedIssuer,
  options: { readonly signal: AbortSignal },
  deps: { readonly fetchDocument: FetchDocument },
): Promise<JSONWebKeySet> {
  const { certificateAuthority, allowInsecureLoopback = false } = issuer;
  const fetchOptions = {
    ...options,
    allowInsecureLoopback,
    ...(certificateAuthority === undefined ? {} : { certificateAuthority }),
  };
  const discovery = discoveryUrl(issuer);
  const document = parseObject(await deps.fetchDocument(discovery, fetchOptions), discovery);
  const keysUrl = keySetUrl(document, issuer, discovery);
  return parseKeySet(parseObject(await deps.fetchDocument(keysUrl, fetchOptions), keysUrl), keysUrl);
}

/** The configured address as it is, or the well-known path below the issuer's own. */
function discoveryUrl(issuer: Pick<TrustedIssuer, "url" | "discoveryUrl">): URL {
  return new URL(issuer.discoveryUrl ?? `${issuer.url.replace(/\/$/, "")}/.well-known/openid-configuration`);
}

function keySetUrl(document: Readonly<Record<string, unknown>>, issuer: TrustedIssuer, discovery: URL): URL {
  if (document["issuer"] !== issuer.url) throw wrongDocument(discovery, `does not name the issuer ${issuer.url}`);
  const uri = document["jwks_uri"];
  if (typeof uri !== "string" || !URL.canParse(uri)) throw wrongDocument(discovery, "has no jwks_uri");
  const url = new URL(uri);
  if (isFetchable(url, issuer.allowInsecureLoopback ?? false)) return url;
  throw wrongDocument(discovery, "has a jwks_uri that is not an https address");
}

/** Keys that can verify a signature; unusual ones are left out, as RFC 7517 asks. */
function parseKeySet(document: Readonly<Record<string, unknown>>, url: URL): JSONWebKeySet {
  const keys = document["keys"];
  if (!Array.isArray(keys)) throw wrongDocument(url, "is not a key set");
  if (keys.length > MAX_ISSUER_KEYS) throw wrongDocument(url, `holds more than ${MAX_ISSUER_KEYS} keys`);
  return { keys: withoutDoubles(keys.filter(isPublicKey)) };
}

/** A key that is listed twice is one: the same material under the same id. Two keys under one id stay two. */
function withoutDoubles(keys: readonly JWK[]): JWK[] {
  const seen = new Set<string>();
  return keys.filter(({ kid, kty, alg, n, e, crv, x, y }) => {
    const key = JSON.stringify([kid, kty, alg, n, e, crv, x, y]);
    const isNew = !seen.has(key);
    seen.add(key);
    return isNew;
  });
}

function isPublicKey(key: unknown): key is JWK {
  return isObject(key) && key["use"] !== "enc" && (key["kty"] === "RSA" || key["kty"] === "EC" || key["kty"] === "OKP");
}

function parseObject(text: string, url: URL): Readonly<Record<string, unknown>> {
  const value = parseJsonObject(text);
  if (value !== undefined) return value;
  throw wrongDocument(url, "is not a JSON object");
}

function wrongDocument(url: URL, what: string): ConnectError {
  return new ConnectError("CC_ISSUER_UNREACHABLE", `The document at ${url.origin}${url.pathname} ${what}`);
}
