import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { proxyFor } from "@cluster-connect/framing/ws";
import {
  type ClusterId,
  ConnectError,
  isErrorCode,
  type KeyId,
  parseClusterId,
  parseKeyId,
} from "@cluster-connect/protocol";
import type { Environment } from "@cluster-connect/service";
import { z } from "zod";

/** What an agent shows to be enrolled. */
export interface EnrollRequest {
  readonly code: string;
  /** SubjectPublicKeyInfo in base64url. */
  readonly publicKey: string;
  /** PEM. */
  readonly clusterAuthorities: string;
  /** A code for any other cluster is refused, and not used up. */
  readonly clusterId?: ClusterId;
}

export interface Enrolled {
  readonly clusterId: ClusterId;
  readonly keyId: KeyId;
  readonly relayId: string;
}

/** What an agent shows to have its key replaced. */
export interface NewKeyRequest {
  /** The former key. */
  readonly keyId: KeyId;
  /** The new one, SubjectPublicKeyInfo in base64url. */
  readonly publicKey: string;
  readonly at: string;
  /** By the former and by the new key. */
  readonly signature: string;
  readonly newSignature: string;
}

export interface RelayApiOptions {
  /** PEM to trust instead of the system's authorities. */
  readonly ca?: string | undefined;
  readonly signal: AbortSignal;
}

const ANSWER = z.object({ clusterId: z.string(), keyId: z.string(), relayId: z.string() });
const REFUSAL = z.object({ code: z.string(), message: z.string().max(1_024), hint: z.string().max(1_024).optional() });
const TIMEOUT_MS = 15_000;
const MAX_ANSWER_BYTES = 65_536;

/**
 * Enrolls at a relay: `POST /v1/enroll`.
 *
 * @throws ConnectError the relay's own code, or `CC_RELAY_UNREACHABLE`, `CC_TLS_UNTRUSTED`, `CC_RELAY_REFUSED`.
 */
export function postEnrollment(
  relay: URL,
  body: EnrollRequest,
  options: RelayApiOptions,
  deps: { readonly env: Environment },
): Promise<Enrolled> {
  return postFor(new URL("/v1/enroll", relay), body, options, deps);
}

/** Gives the relay a new key, signed by the former one: `POST /v1/agent/keys`. @throws as {@link postEnrollment}. */
export function postKey(
  relay: URL,
  body: NewKeyRequest,
  options: RelayApiOptions,
  deps: { readonly env: Environment },
): Promise<Enrolled> {
  return postFor(new URL("/v1/agent/keys", relay), body, options, deps);
}

async function postFor(
  url: URL,
  body: object,
  options: RelayApiOptions,
  deps: { readonly env: Environment },
): Promise<Enrolled> {
  const { status, text } = await post(url, JSON.stringify(body), options, deps.env);
  const answer = parseJson(text);
  if (status !== 200) throw refusal(url, status, answer);
  const parsed = ANSWER.safeParse(answer);
  if (!parsed.success) throw new ConnectError("CC_RELAY_REFUSED", `${url.host} gave no enrollment answer`);
  const { clusterId, keyId, relayId } = parsed.data;
  return { clusterId: parseClusterId(clusterId), keyId: parseKeyId(keyId), relayId };
}

function post(
  url: URL,
  body: string,
  options: { readonly ca?: string | undefined; readonly signal: AbortSignal },
  env: Environment,
): Promise<{ readonly status: number; readonly text: string }> {
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(TIMEOUT_MS)]);
  const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; text: string }>();
  // The same proxy that tunnels take: Node's own reading of the environment goes past one without a scheme.
  const proxy = proxyFor(url, env)?.href;
  const proxyEnv = proxy === undefined ? {} : { HTTP_PROXY: proxy, HTTPS_PROXY: proxy };
  const onResponse = (response: IncomingMessage): void => {
    readText(response).then((text) => resolve({ status: response.statusCode ?? 0, text }), reject);
  };
  const request =
    url.protocol === "https:"
      ? httpsRequest(url, {
          method: "POST",
          headers,
          signal,
          agent: new HttpsAgent({ proxyEnv }),
          ...(options.ca && { ca: options.ca }),
        })
      : httpRequest(url, { method: "POST", headers, signal, agent: new HttpAgent({ proxyEnv }) });
  request.on("response", onResponse);
  request.on("error", reject);
  request.end(body);
  return promise.catch((cause: unknown) => {
    throw unreachable(url, cause);
  });
}

async function readText(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response) {
    if (!Buffer.isBuffer(chunk)) continue;
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) throw new Error("the answer is too long");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function refusal(relay: URL, status: number, answer: unknown): ConnectError {
  const parsed = REFUSAL.safeParse(answer);
  if (!parsed.success || !isErrorCode(parsed.data.code)) {
    // Without the relay's own words a 5xx comes from what stands before it and passes.
    if (status >= 500) return new ConnectError("CC_RELAY_UNREACHABLE", `${relay.host} answered HTTP status ${status}`);
    return new ConnectError("CC_RELAY_REFUSED", `${relay.host} answered the enrollment with HTTP status ${status}`);
  }
  const { code, message, hint } = parsed.data;
  return new ConnectError(code, message, hint === undefined ? {} : { hint });
}

/** OpenSSL's names of what is wrong with a certificate. */
const TLS_CODES =
  /CERT|SELF_SIGNED|UNABLE_TO_(GET_ISSUER|VERIFY)|ERR_TLS_CERT_ALTNAME_INVALID|HOSTNAME_MISMATCH|INVALID_(CA|PURPOSE)/;

function unreachable(url: URL, cause: unknown): ConnectError {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : undefined;
  const silent = code === "ABORT_ERR" ? `no answer after ${TIMEOUT_MS / 1_000} s` : code;
  const reason = silent ?? (cause instanceof Error ? cause.message : String(cause));
  if (code !== undefined && TLS_CODES.test(code)) {
    const hint = "Give the authority that signed the relay's certificate as relay.caFile (the chart's relay.ca).";
    return new ConnectError("CC_TLS_UNTRUSTED", `The certificate of ${url.host} is not trusted: ${code}`, {
      cause,
      hint,
    });
  }
  const hint = "Check relay.url, what the pods may dial (firewall, NetworkPolicy) and the proxy settings.";
  return new ConnectError("CC_RELAY_UNREACHABLE", `The relay ${url.host} cannot be reached: ${reason}`, {
    cause,
    hint,
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
