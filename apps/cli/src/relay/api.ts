import {
  ACCESS_DECISION,
  type AccessDecision,
  CLUSTERS_ANSWER,
  type ListedCluster,
  REFUSAL,
  RELAY_INFO,
  type RelayInfo,
  wrongField,
} from "@cluster-connect/api";
import { isTransientStatus } from "@cluster-connect/base";
import { type ClusterId, ConnectError, isErrorCode } from "@cluster-connect/protocol";
import { z } from "zod";
import type { CliDeps } from "../deps.ts";
import { parseJson } from "../json.ts";
import { printable } from "../terminal/printable.ts";
import { SOFTWARE } from "../version.ts";
import { networkError } from "./network-error.ts";

/** One cluster of `GET /v1/clusters`. The fingerprint is computed here, never believed. */
export type Cluster = Omit<ListedCluster, "fingerprint">;

export interface RequestOptions {
  readonly signal: AbortSignal;
}

export type RelayApiDeps = Pick<CliDeps, "fetch">;

const TIMEOUT_MS = 10_000;
const MAX_ANSWER_BYTES = 8_388_608;

const LISTED = CLUSTERS_ANSWER.shape.clusters.element.omit({ fingerprint: true });
/** Relays of versions before have no authorities that wait, and do not tell two clusters apart. */
const CLUSTERS = z.object({
  clusters: z.array(
    LISTED.extend({
      pendingFingerprint: LISTED.shape.pendingFingerprint.default(null),
      pendingUid: LISTED.shape.pendingUid.default(null),
    }),
  ),
});

/**
 * Asks a relay for its identity and for the way to sign in.
 *
 * @throws ConnectError `CC_RELAY_UNREACHABLE`, `CC_TLS_UNTRUSTED` or `CC_RELAY_REFUSED`.
 */
export async function fetchRelayInfo(relay: URL, options: RequestOptions, deps: RelayApiDeps): Promise<RelayInfo> {
  return await getFromRelay(relay, { path: "/.well-known/cluster-connect", schema: RELAY_INFO }, options, deps);
}

/**
 * Asks which clusters the caller may reach, and how they are.
 *
 * @throws ConnectError as {@link fetchRelayInfo}, and the relay's own code, such as `CC_TOKEN_EXPIRED`.
 */
export async function fetchClusters(
  relay: URL,
  token: string,
  options: RequestOptions,
  deps: RelayApiDeps,
): Promise<readonly Cluster[]> {
  return (await getFromRelay(relay, { path: "/v1/clusters", token, schema: CLUSTERS }, options, deps)).clusters;
}

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
  const path = `/v1/access?cluster=${cluster}`;
  return await getFromRelay(relay, { path, token, schema: ACCESS_DECISION }, options, deps);
}

/** A question to a relay. */
interface RelayQuestion<T> {
  readonly path: string;
  readonly token?: string;
  /** The answer's shape. */
  readonly schema: z.ZodType<T>;
}

async function getFromRelay<T>(
  relay: URL,
  { path, token, schema }: RelayQuestion<T>,
  options: RequestOptions,
  deps: RelayApiDeps,
): Promise<T> {
  const answer = await askRelay(relay, { method: "GET", path, token }, options, deps);
  if (answer.status !== 200) throw refusedByRelay(relay.host, answer.status, answer.body);
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
 * Sends a request and takes any answer.
 *
 * @throws ConnectError `CC_RELAY_UNREACHABLE`, `CC_TLS_UNTRUSTED`, or `CC_RELAY_REFUSED` for an answer that is too
 *   long.
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
  const field = wrongField(parsed.error);
  throw new ConnectError("CC_RELAY_REFUSED", `${address} does not answer as a cluster-connect relay does${field}`);
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

/** The error of a relay's refusal, in its own words where it has any. */
export function refusedByRelay(host: string, status: number, body: unknown): ConnectError {
  const failure = REFUSAL.safeParse(body);
  if (failure.success && isErrorCode(failure.data.code) && failure.data.code !== "CC_REQUEST_REFUSED") {
    return new ConnectError(failure.data.code, `${host}: ${printable(failure.data.message).replaceAll(/\s+/g, " ")}`);
  }
  const said = `${host} answers with HTTP status ${status}`;
  if (isTransientStatus(status)) return new ConnectError("CC_RELAY_UNREACHABLE", `${said}: no relay behind it`);
  return new ConnectError("CC_RELAY_REFUSED", said);
}
