import { type ClusterId, ConnectError, isErrorCode, parseClusterId } from "@cluster-connect/protocol";
import { z } from "zod";
import type { CliDeps } from "./deps.ts";
import { parseJson } from "./json.ts";
import { networkError } from "./network-error.ts";
import { printable } from "./printable.ts";
import { SOFTWARE } from "./version.ts";

/** How an audience is named at the issuer: RFC 8707 `resource`, a scope `<audience>/.default`, or `audience`. */
export type ResourceParameter = "resource" | "scope" | "audience";

/** What signing in needs to know. */
export interface LoginSettings {
  readonly issuer: string;
  readonly clientId: string;
  readonly scopes: readonly string[];
  readonly audiences: { readonly relay: string; readonly cluster: string };
  readonly resourceParameter: ResourceParameter;
}

/** Answer of `GET /.well-known/cluster-connect`. */
export interface RelayInfo {
  readonly relayId: string;
  readonly software: string;
  /** Null when the relay leaves the choice of an issuer to its callers. */
  readonly login: LoginSettings | null;
}

export type ClusterStatus = "connected" | "degraded" | "connecting" | "offline";

/** One cluster of `GET /v1/clusters`. Times are ISO 8601. */
export interface Cluster {
  readonly id: ClusterId;
  readonly status: ClusterStatus;
  readonly since: string | null;
  readonly lastSeenAt: string | null;
  readonly lastSeenSeconds: number | null;
  /** Which hop is missing, when it is degraded. */
  readonly reason: string | null;
  readonly agents: readonly { readonly instanceId: string; readonly since: string }[];
  /** PEM; the fingerprint is computed here, never believed. */
  readonly certificateAuthorities: string | null;
  readonly serverName: string;
}

export interface RequestOptions {
  readonly signal: AbortSignal;
}

export type RelayApiDeps = Pick<CliDeps, "fetch">;

const TIMEOUT_MS = 10_000;
const MAX_ANSWER_BYTES = 8_388_608;

const LOGIN: z.ZodType<LoginSettings> = z.object({
  issuer: z.url({ protocol: /^https?$/ }),
  clientId: z.string().min(1),
  scopes: z.array(z.string()),
  audiences: z.object({ relay: z.string().min(1), cluster: z.string().min(1) }),
  resourceParameter: z.enum(["resource", "scope", "audience"]).default("resource"),
});

const INFO: z.ZodType<RelayInfo> = z.object({
  relayId: z.string(),
  software: z.string(),
  login: LOGIN.nullable(),
});

const CLUSTER: z.ZodType<Cluster> = z.object({
  id: z.string().transform((id) => parseClusterId(id)),
  status: z.enum(["connected", "degraded", "connecting", "offline"]),
  since: z.string().nullable(),
  lastSeenAt: z.string().nullable(),
  lastSeenSeconds: z.number().nullable(),
  reason: z.string().nullable(),
  agents: z.array(z.object({ instanceId: z.string(), since: z.string() })),
  certificateAuthorities: z.string().nullable(),
  serverName: z.string().regex(/^[a-z0-9.-]{1,253}$/),
});

const CLUSTERS: z.ZodType<{ readonly clusters: readonly Cluster[] }> = z.object({ clusters: z.array(CLUSTER) });

const FAILURE: z.ZodType<{ readonly code: string; readonly message: string }> = z.object({
  code: z.string(),
  message: z.string().max(2_048),
});

/**
 * Asks a relay who it is and how to sign in.
 *
 * @throws ConnectError `CC_RELAY_UNREACHABLE`, `CC_TLS_UNTRUSTED` or `CC_RELAY_REFUSED`.
 */
export async function fetchRelayInfo(relay: URL, options: RequestOptions, deps: RelayApiDeps): Promise<RelayInfo> {
  return await get(relay, "/.well-known/cluster-connect", INFO, undefined, options, deps);
}

/**
 * Asks which clusters the caller may reach, and how they are.
 *
 * @throws ConnectError as {@link fetchRelayInfo}, and what the relay answers, such as `CC_TOKEN_EXPIRED`.
 */
export async function fetchClusters(
  relay: URL,
  token: string,
  options: RequestOptions,
  deps: RelayApiDeps,
): Promise<readonly Cluster[]> {
  return (await get(relay, "/v1/clusters", CLUSTERS, token, options, deps)).clusters;
}

/** A decision about grants, as the relay explains it. */
export interface AccessDecision {
  readonly cluster: string;
  readonly allowed: boolean;
  readonly reason: string;
  /** Which grant allows it. */
  readonly grant: string | null;
  /** Grants that lack one thing only. */
  readonly near: readonly { readonly grant: string; readonly lack: string; readonly text: string }[];
}

export const ACCESS: z.ZodType<AccessDecision> = z.object({
  cluster: z.string(),
  allowed: z.boolean(),
  reason: z.string(),
  grant: z.string().nullable(),
  near: z.array(z.object({ grant: z.string(), lack: z.string(), text: z.string() })),
});

/**
 * Asks whether and why the caller may reach a cluster.
 *
 * @throws ConnectError as {@link fetchClusters}; `CC_RELAY_REFUSED` from a relay that does not explain itself yet.
 */
export async function fetchAccess(
  relay: URL,
  token: string,
  cluster: ClusterId,
  options: RequestOptions,
  deps: RelayApiDeps,
): Promise<AccessDecision> {
  return await get(relay, `/v1/access?cluster=${cluster}`, ACCESS, token, options, deps);
}

async function get<T>(
  relay: URL,
  path: string,
  schema: z.ZodType<T>,
  token: string | undefined,
  options: RequestOptions,
  deps: RelayApiDeps,
): Promise<T> {
  const answer = await askRelay(relay, { method: "GET", path, token }, options, deps);
  if (answer.status !== 200) throw refusal(relay.host, answer.status, answer.body);
  return parseAnswer(schema, answer.body, `${relay.host}${path}`);
}

/** An HTTP request to a relay. */
export interface RelayRequest {
  readonly method: "GET" | "POST" | "PATCH" | "DELETE";
  readonly path: string;
  readonly token: string | undefined;
  readonly body?: unknown;
}

/**
 * Sends a request, whatever its answer.
 *
 * @throws ConnectError `CC_RELAY_UNREACHABLE`, `CC_TLS_UNTRUSTED`, or `CC_RELAY_REFUSED` for an answer that is too long.
 */
export async function askRelay(
  relay: URL,
  request: RelayRequest,
  options: RequestOptions,
  deps: RelayApiDeps,
): Promise<{ readonly status: number; readonly body: unknown }> {
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(TIMEOUT_MS)]);
  const { method, path, token, body } = request;
  try {
    const response = await deps.fetch(new URL(path, relay), {
      method,
      headers: {
        accept: "application/json",
        "user-agent": SOFTWARE,
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      redirect: "manual",
      signal,
    });
    return { status: response.status, body: parseJson(await readLimited(response, relay.host)) };
  } catch (error) {
    options.signal.throwIfAborted();
    throw networkError(relay.host, "CC_RELAY_UNREACHABLE", error);
  }
}

/** @throws ConnectError `CC_RELAY_REFUSED` naming the address when the answer is another than it should be. */
export function parseAnswer<T>(schema: z.ZodType<T>, body: unknown, address: string): T {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  throw new ConnectError("CC_RELAY_REFUSED", `${address} does not answer as a cluster-connect relay does`);
}

async function readLimited(response: Response, host: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) throw new ConnectError("CC_RELAY_REFUSED", `${host} answers with more than 8 MiB`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** What a relay refuses with, in its own words where it has any. */
export function refusal(host: string, status: number, body: unknown): ConnectError {
  const failure = FAILURE.safeParse(body);
  if (failure.success && isErrorCode(failure.data.code) && failure.data.code !== "CC_REQUEST_REFUSED") {
    return new ConnectError(failure.data.code, `${host}: ${printable(failure.data.message).replaceAll(/\s+/g, " ")}`);
  }
  return new ConnectError("CC_RELAY_REFUSED", `${host} answers with HTTP status ${status}`);
}
