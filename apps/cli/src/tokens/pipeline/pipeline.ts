import { createHash } from "node:crypto";
import { ConnectError } from "@cluster-connect/protocol";
import type { CliDeps, Environment } from "../../deps.ts";
import { networkError } from "../../relay/network-error.ts";
import type { TokenEnd } from "../token-end.ts";
import type { Pipeline } from "./build-service.ts";
import { findIdTokens } from "./id-tokens.ts";

type PipelineDeps = Pick<CliDeps, "fetch" | "env" | "now"> & {
  /** Reads the end of a token that is there already; its own word counts without it. */
  readonly endOf?: TokenEnd;
};

const TIMEOUT_MS = 15_000;
const AZURE_API = "7.1";

/** Finds the build service that this process runs in by its environment. */
export function findPipeline(deps: PipelineDeps): Pipeline | undefined {
  return findGithubActions(deps) ?? findAzurePipelines(deps) ?? findIdTokens(deps);
}

/** A job of GitHub Actions with `permissions: id-token: write`. */
function findGithubActions(deps: PipelineDeps): Pipeline | undefined {
  const { address, secret } = readEndpoint(deps.env, "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN");
  if (address === undefined || secret === undefined) return undefined;
  return {
    name: "GitHub Actions",
    jobKey: jobKeyOf(address.origin, secret),
    hasOwnAudiences: false,
    async token(audience, { signal }) {
      const url = new URL(address);
      url.searchParams.set("audience", audience);
      const init = { headers: { authorization: `Bearer ${secret}` } };
      return await requestToken({ service: "GitHub Actions", url, init, field: "value" }, { signal }, deps);
    },
  };
}

/** A job of Azure Pipelines that maps `SYSTEM_ACCESSTOKEN` into its environment; its tokens have one audience. */
function findAzurePipelines(deps: PipelineDeps): Pipeline | undefined {
  const { address, secret } = readEndpoint(deps.env, "SYSTEM_OIDCREQUESTURI", "SYSTEM_ACCESSTOKEN");
  if (address === undefined || secret === undefined) return undefined;
  return {
    name: "Azure Pipelines",
    jobKey: jobKeyOf(address.origin, secret),
    hasOwnAudiences: false,
    async token(_audience, { signal }) {
      const url = new URL(address);
      url.searchParams.set("api-version", AZURE_API);
      const connection = deps.env["CLUSTER_CONNECT_SERVICE_CONNECTION"] ?? "";
      if (connection !== "") url.searchParams.set("serviceConnectionId", connection);
      const headers = { authorization: `Bearer ${secret}`, "content-type": "application/json" };
      const init = { method: "POST", headers, body: "" };
      return await requestToken({ service: "Azure Pipelines", url, init, field: "oidcToken" }, { signal }, deps);
    },
  };
}

function readEndpoint(
  env: Environment,
  addressName: string,
  secretName: string,
): { readonly address: URL | undefined; readonly secret: string | undefined } {
  const secret = env[secretName];
  return { address: URL.parse(env[addressName] ?? "") ?? undefined, secret: secret === "" ? undefined : secret };
}

function jobKeyOf(origin: string, secret: string): string {
  return `${origin} ${createHash("sha256").update(secret).digest("hex").slice(0, 24)}`;
}

/** A build service's request for a token of its job. */
interface TokenRequest {
  /** For the screen. */
  readonly service: string;
  readonly url: URL;
  readonly init: RequestInit;
  /** The field of the answer that holds the token. */
  readonly field: string;
}

async function requestToken(
  { service, url, init, field }: TokenRequest,
  options: { readonly signal: AbortSignal },
  deps: PipelineDeps,
): Promise<string> {
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(TIMEOUT_MS)]);
  let body: unknown;
  let status: number;
  try {
    const response = await deps.fetch(url, { ...init, redirect: "error", signal });
    status = response.status;
    body = await response.json().catch(() => undefined);
  } catch (error) {
    options.signal.throwIfAborted();
    throw networkError(url.host, "CC_ISSUER_UNREACHABLE", error);
  }
  const token = Object.getOwnPropertyDescriptor(Object(body), field)?.value;
  if (status === 200 && typeof token === "string" && token !== "") return token;
  throw new ConnectError("CC_LOGIN_FAILED", `${service} gave this job no token (HTTP status ${status})`, {
    hint: "Let the job have tokens: permissions id-token: write, or SYSTEM_ACCESSTOKEN in its environment.",
  });
}
