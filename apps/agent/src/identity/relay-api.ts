import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import {
  ENROLLED_KEY,
  type EnrolledKey,
  type EnrollRequest,
  REFUSAL,
  type RotateRequest,
  wrongField,
} from "@cluster-connect/api";
import { isTransientStatus, systemCode } from "@cluster-connect/base";
import { proxyFor } from "@cluster-connect/framing/ws";
import { ConnectError, isErrorCode } from "@cluster-connect/protocol";
import type { Environment } from "@cluster-connect/service";

export interface RelayApiOptions {
  /** PEM to trust instead of the system's authorities. */
  readonly ca?: string | undefined;
  readonly signal: AbortSignal;
}

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
): Promise<EnrolledKey> {
  return postFor(new URL("/v1/enroll", relay), body, options, deps);
}

/** Gives the relay a new key, signed by the former one: `POST /v1/agent/keys`. @throws as {@link postEnrollment}. */
export function postKey(
  relay: URL,
  body: RotateRequest,
  options: RelayApiOptions,
  deps: { readonly env: Environment },
): Promise<EnrolledKey> {
  return postFor(new URL("/v1/agent/keys", relay), body, options, deps);
}

async function postFor(
  url: URL,
  body: object,
  options: RelayApiOptions,
  deps: { readonly env: Environment },
): Promise<EnrolledKey> {
  const { status, text } = await post(url, JSON.stringify(body), options, deps.env);
  const answer = parseJson(text);
  if (status !== 200) throw refusal(url, status, answer);
  const parsed = ENROLLED_KEY.safeParse(answer);
  if (!parsed.success) {
    const field = wrongField(parsed.error);
    throw new ConnectError("CC_RELAY_REFUSED", `${url.host} does not answer as a cluster-connect relay does${field}`);
  }
  return parsed.data;
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
  // Node fails at a `%` that encodes nothing; in a password it is itself, as for curl.
  const proxy = proxyFor(url, env)?.href.replaceAll(/%(?![0-9a-f]{2})/gi, "%25");
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
    // Without the relay's own words it comes from what stands before it.
    if (isTransientStatus(status))
      return new ConnectError("CC_RELAY_UNREACHABLE", `${relay.host} answered HTTP status ${status}`);
    return new ConnectError("CC_RELAY_REFUSED", `${relay.host} answered the enrollment with HTTP status ${status}`);
  }
  const { code, message, hint } = parsed.data;
  return new ConnectError(code, message, hint === undefined ? {} : { hint });
}

/** OpenSSL's names of what is wrong with a certificate. */
const TLS_CODES =
  /CERT|SELF_SIGNED|UNABLE_TO_(GET_ISSUER|VERIFY)|ERR_TLS_CERT_ALTNAME_INVALID|HOSTNAME_MISMATCH|INVALID_(CA|PURPOSE)/;

function unreachable(url: URL, cause: unknown): ConnectError {
  const code = systemCode(cause);
  const silent = code === "ABORT_ERR" ? `no answer after ${TIMEOUT_MS / 1_000} s` : code;
  const reason = silent || (cause instanceof Error ? cause.message : String(cause));
  if (TLS_CODES.test(code)) {
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
