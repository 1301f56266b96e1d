import { LOGIN, type LoginSettings } from "@cluster-connect/api";
import { isClusterAudience } from "@cluster-connect/protocol";
import {
  type Environment,
  LOG_LEVELS,
  type LogLevel,
  loadConfig,
  TRACING_SCHEMA,
  type TracingSettings,
} from "@cluster-connect/service";
import { z } from "zod";
import { ADMIN_SCHEMA, type AdminSpec } from "./admin/admins.ts";
import type { SharedKeySettings } from "./agents/shared-keys.ts";
import { AUDIT_SCHEMA, type AuditSettings } from "./audit/open.ts";
import { isNetwork } from "./config-values.ts";
import { GRANT_SCHEMA, type GrantSpec } from "./grants/grant.ts";
import type { PeerSettings } from "./peers/tls.ts";
import { LIMIT_SCHEMA, type LimitSettings } from "./quota/limit-settings.ts";
import { countPlaces, type StoreSettings } from "./store/open/place.ts";

/** The relay's settings. @see apps/relay/README.md */
export interface RelayConfig extends StoreSettings {
  readonly listen: { readonly host: string; readonly port: number };
  /** The address agents and CLIs use: scheme, host and perhaps port. Agents sign its host and port. */
  readonly publicUrl: URL;
  /** Absent where a proxy in front ends TLS, or on loopback. */
  readonly tls?: { readonly certFile: string; readonly keyFile: string } | undefined;
  /** A file in Kubernetes' AuthenticationConfiguration format, with the relay's own audience. */
  readonly authenticationConfig: string;
  readonly allowInsecureLoopbackIssuer: boolean;
  readonly grants: readonly GrantSpec[];
  /** A folder of YAML files with further grants; followed when they change. */
  readonly grantsDir?: string | undefined;
  /** Callers who may use the routes for administrators. */
  readonly admins: readonly AdminSpec[];
  /** Told when a cluster's state changes. */
  readonly webhook?: { readonly url: string; readonly secretFile: string } | undefined;
  readonly audit: AuditSettings;
  readonly limits: LimitSettings;
  /** An OpenTelemetry collector that takes OTLP over HTTP. */
  readonly tracing?: TracingSettings | undefined;
  /** A port of its own for `/metrics`, `/healthz` and `/readyz`; without, the public one serves metrics to this machine. */
  readonly metrics?: { readonly host: string; readonly port: number } | undefined;
  readonly login?: LoginSettings | undefined;
  /** Addresses and networks whose X-Forwarded-For is believed. */
  readonly trustedProxies: readonly string[];
  readonly probe: { readonly intervalSeconds: number; readonly timeoutSeconds: number };
  readonly drainSeconds: number;
  readonly agents: SharedKeySettings;
  /** With other relays that share the store; absent for a relay alone. */
  readonly peers?: PeerSettings | undefined;
  /** How long the last reading counts while the store does not answer. */
  readonly storeOutageSeconds: number;
  readonly log: { readonly level: LogLevel };
}

const LOGIN_SETTING: z.ZodType<LoginSettings> = LOGIN.extend({
  scopes: z.array(z.string().min(1)).default(["openid", "profile", "offline_access"]),
  audiences: LOGIN.shape.audiences.strict(),
  resourceParameter: LOGIN.shape.resourceParameter.default("resource"),
})
  .strict()
  .refine(({ audiences }) => !isClusterAudience(audiences.cluster, audiences.relay), {
    path: ["audiences", "relay"],
    error: "expected another audience than the clusters', so that a token for the relay is worth nothing there",
  });

const STORE: z.ZodType<NonNullable<StoreSettings["store"]>> = z.strictObject({
  sqlite: z.string().min(1).optional(),
  postgres: z
    .strictObject({
      url: z.url({ protocol: /^postgres(ql)?$/ }).optional(),
      urlFile: z.string().min(1).optional(),
    })
    .optional(),
});

const PEERS: z.ZodType<PeerSettings> = z.strictObject({
  listen: z.strictObject({ host: z.string().min(1).default("127.0.0.1"), port: z.int().min(0).max(65_535) }),
  address: z.string().regex(/^(\[[0-9a-fA-F:.]+\]|[^\s:/[\]]+):\d{1,5}$/, "expected host:port"),
  certFile: z.string().min(1),
  keyFile: z.string().min(1),
  caFile: z.string().min(1),
});

const PUBLIC_URL: z.ZodType<URL> = z
  .url({ protocol: /^https?$/ })
  .transform((text) => new URL(text))
  .refine(
    (url) => url.pathname === "/" && url.search === "" && url.hash === "" && url.username === "",
    "expected a scheme, a host and perhaps a port, nothing else",
  );

const FIELDS = z.strictObject({
  listen: z
    .strictObject({ host: z.string().min(1).default("127.0.0.1"), port: z.int().min(0).max(65_535).default(8443) })
    .prefault({}),
  publicUrl: PUBLIC_URL,
  tls: z.strictObject({ certFile: z.string().min(1), keyFile: z.string().min(1) }).optional(),
  dataDir: z.string().min(1).optional(),
  store: STORE.optional(),
  authenticationConfig: z.string().min(1),
  allowInsecureLoopbackIssuer: z.boolean().default(false),
  grants: z.array(GRANT_SCHEMA).default([]),
  grantsDir: z.string().min(1).optional(),
  admins: z.array(ADMIN_SCHEMA).default([]),
  webhook: z.strictObject({ url: z.url({ protocol: /^https?$/ }), secretFile: z.string().min(1) }).optional(),
  audit: AUDIT_SCHEMA,
  limits: LIMIT_SCHEMA,
  tracing: TRACING_SCHEMA.optional(),
  metrics: z
    .strictObject({ host: z.string().min(1).default("127.0.0.1"), port: z.int().min(0).max(65_535) })
    .optional(),
  login: LOGIN_SETTING.optional(),
  trustedProxies: z
    .array(z.string().refine(isNetwork, "expected an address or network such as 10.0.0.0/8"))
    .default([]),
  probe: z
    .strictObject({
      intervalSeconds: z.number().min(0.1).max(3_600).default(15),
      timeoutSeconds: z.number().min(0.1).max(60).default(5),
    })
    .prefault({}),
  agents: z
    .strictObject({
      perKey: z.int().min(1).max(1_000).optional(),
      policy: z.enum(["alert", "replace"]).default("alert"),
    })
    .prefault({}),
  peers: PEERS.optional(),
  storeOutageSeconds: z.number().min(0).max(86_400).default(900),
  drainSeconds: z.number().min(0).max(3_600).default(30),
  log: z.strictObject({ level: z.enum(LOG_LEVELS).default("info") }).prefault({}),
});

/** Says which setting is missing also where others are wrong. */
const SCHEMA: z.ZodType<RelayConfig> = FIELDS.refine((settings) => countPlaces(settings) === 1, {
  path: ["dataDir"],
  error: "expected a folder for the store, or store with either sqlite or postgres, and one of them only",
  when: ({ value }) => typeof value === "object" && value !== null,
});

/**
 * Reads the relay's settings.
 *
 * @throws ConnectError `CC_CONFIG_INVALID` with every problem, `CC_FILE_MISSING` or `CC_FILE_UNREADABLE`.
 */
export function loadRelayConfig(source: {
  readonly file?: string | undefined;
  readonly env: Environment;
}): Promise<RelayConfig> {
  return loadConfig(SCHEMA, source);
}
