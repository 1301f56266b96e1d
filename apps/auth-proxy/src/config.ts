import { dirname, isAbsolute, resolve } from "node:path";
import { parseClusterId } from "@cluster-connect/protocol";
import {
  type Environment,
  LOG_LEVELS,
  type LogLevel,
  loadConfig,
  TRACING_SCHEMA,
  type TracingSettings,
} from "@cluster-connect/service";
import { z } from "zod";
import type { IssuerRules } from "./admission/identity.ts";
import type { LongStreamPolicy } from "./ending/lifetime.ts";
import type { ListenTarget } from "./entry/listen.ts";
import { LIMIT_SCHEMA, type ProxyLimits } from "./limits/limit-settings.ts";

/** The auth proxy's settings. @see apps/auth-proxy/README.md */
export interface Config {
  /** This cluster's id; first label of the serving certificate's name. */
  readonly clusterId: string;
  readonly listen: ListenTarget;
  /** Whether HTTP/2 is spoken, with clients and with the apiserver; upgrades are always over HTTP/1.1. */
  readonly http2: boolean;
  /** Folder of the authority's key and certificate. */
  readonly stateDir: string;
  /** Where the authority's certificate is written for the agent. */
  readonly publishCaPath?: string | undefined;
  /** File with Kubernetes' AuthenticationConfiguration. */
  readonly authenticationConfig: string;
  /** Allows issuers on `http://127.0.0.1`, for trying things out. */
  readonly allowInsecureLoopbackIssuer: boolean;
  /** Where the apiserver is and how it is authenticated, both ways. */
  readonly upstream: { readonly url: string; readonly caFile: string; readonly tokenFile: string };
  readonly health: { readonly host: string; readonly port: number };
  readonly certificate: {
    readonly caSeconds: number;
    readonly servingSeconds: number;
  };
  readonly impersonation: {
    /** `constrained` needs Kubernetes 1.36; `auto` takes it where the apiserver and the account's role have it. */
    readonly mode: "auto" | "constrained" | "legacy";
    /** Whether a caller may act as another identity (`kubectl --as`) where RBAC lets them. */
    readonly allowAs: boolean;
    /** Domain of the extras that say where a request came from. */
    readonly extraDomain: string;
    /** Keys of the extras that issuers map; the account's role must name them. */
    readonly extraKeys: readonly string[];
    /** The only names a caller may have, as the account's role must say too. An empty list allows every name. */
    readonly users: readonly string[];
    readonly groups: readonly string[];
  };
  /** Whether ServiceAccount tokens of this cluster are accepted, and for which audiences. */
  readonly tokenReview: { readonly enabled: boolean; readonly audiences: readonly string[] };
  /** Rules by issuer URL. */
  readonly issuers: Readonly<Record<string, IssuerRules>>;
  /** The end of a watch, exec or port-forward whose caller's token expires. */
  readonly longStreams: LongStreamPolicy;
  readonly limits: ProxyLimits;
  /** Whether the account's own rights are checked before anything is served; off in tests only. */
  readonly selfCheck: boolean;
  /** Lines such as `list projects.project.openshift.io` that this cluster grants to every account. */
  readonly toleratedPrivileges: readonly string[];
  /** Time for open requests when the process is asked to stop. */
  readonly drainSeconds: number;
  /** An OpenTelemetry collector that gets spans; none is kept without. */
  readonly tracing?: TracingSettings | undefined;
  readonly log: { readonly level: LogLevel };
}

const IN_CLUSTER = "/var/run/secrets/kubernetes.io/serviceaccount";

const port = z.number().int().min(0).max(65_535);
const seconds = z.number().int().min(1);
const names = z.array(z.string().min(1)).default([]);

const clusterId = z.string().superRefine((value, context) => {
  try {
    parseClusterId(value);
  } catch {
    context.addIssue({ code: "custom", message: "expected 1 to 63 characters of a-z, 0-9 and -" });
  }
});

const listen = z.union([
  z.strictObject({ socket: z.string().min(1) }),
  z.strictObject({
    host: z.string().default("127.0.0.1"),
    port,
    proxyProtocol: z.boolean().default(true),
  }),
]);

const SCHEMA = z.strictObject({
  clusterId,
  listen: listen.default({ socket: "/run/cluster-connect/auth-proxy.sock" }),
  http2: z.boolean().default(false),
  stateDir: z.string().min(1).default("/var/lib/cluster-connect"),
  publishCaPath: z.string().min(1).optional(),
  authenticationConfig: z.string().min(1),
  allowInsecureLoopbackIssuer: z.boolean().default(false),
  upstream: z
    .strictObject({
      url: z.url({ protocol: /^https$/ }).optional(),
      caFile: z.string().min(1).default(`${IN_CLUSTER}/ca.crt`),
      tokenFile: z.string().min(1).default(`${IN_CLUSTER}/token`),
    })
    .prefault({}),
  health: z.strictObject({ host: z.string().default("0.0.0.0"), port: port.default(8_081) }).prefault({}),
  certificate: z
    .strictObject({
      caSeconds: seconds.default(10 * 365 * 86_400),
      servingSeconds: seconds.default(30 * 86_400),
    })
    .prefault({}),
  impersonation: z
    .strictObject({
      mode: z.enum(["auto", "constrained", "legacy"]).default("auto"),
      allowAs: z.boolean().default(false),
      extraDomain: z.hostname().default("connect.cluster-connect.io"),
      extraKeys: names,
      users: names,
      groups: names,
    })
    .prefault({}),
  tokenReview: z
    .strictObject({
      enabled: z.boolean().default(false),
      audiences: names,
    })
    .prefault({}),
  issuers: z
    .record(
      z.string(),
      z.strictObject({
        allowedSystemNames: names,
        groups: z.array(z.string().min(1)).optional(),
      }),
    )
    .default({}),
  longStreams: z
    .strictObject({
      onExpiry: z.enum(["end", "runToMaximum"]).default("end"),
      maximumSeconds: seconds.default(3_600),
    })
    .prefault({}),
  limits: LIMIT_SCHEMA,
  selfCheck: z.boolean().default(true),
  toleratedPrivileges: names,
  drainSeconds: z.number().int().min(0).default(20),
  tracing: TRACING_SCHEMA.optional(),
  log: z.strictObject({ level: z.enum(LOG_LEVELS).default("info") }).prefault({}),
});

/**
 * Reads the settings; paths in a file are relative to it.
 *
 * @throws ConnectError `CC_CONFIG_INVALID` with every problem, `CC_FILE_MISSING` or `CC_FILE_UNREADABLE`.
 */
export async function loadProxyConfig(source: {
  readonly file?: string | undefined;
  readonly env: Environment;
}): Promise<Config> {
  const found = await loadConfig(withInClusterUrl(source.env), source);
  const file = source.file ?? source.env["CC_CONFIG"];
  const at = (path: string): string => (isAbsolute(path) || file === undefined ? path : resolve(dirname(file), path));
  const { publishCaPath, listen, upstream } = found;
  return {
    ...found,
    listen: "socket" in listen ? { socket: at(listen.socket) } : listen,
    stateDir: at(found.stateDir),
    publishCaPath: publishCaPath === undefined ? undefined : at(publishCaPath),
    authenticationConfig: at(found.authenticationConfig),
    upstream: { ...upstream, caFile: at(upstream.caFile), tokenFile: at(upstream.tokenFile) },
  };
}

/** The schema with the apiserver's address in a pod as the default, so that a missing one is a problem like others. */
function withInClusterUrl(env: Environment): z.ZodType<Config> {
  const host = env["KUBERNETES_SERVICE_HOST"];
  const servicePort = env["KUBERNETES_SERVICE_PORT"] ?? "443";
  const address = host?.includes(":") ? `[${host}]` : host;
  const fallback = host === undefined ? undefined : `https://${address}:${servicePort}`;
  return SCHEMA.transform((settings, context) => {
    const url = settings.upstream.url ?? fallback;
    if (url !== undefined) return { ...settings, upstream: { ...settings.upstream, url } };
    context.addIssue({ code: "custom", path: ["upstream", "url"], message: "expected the apiserver's https address" });
    return z.NEVER;
  });
}
