import { isLoopbackHost } from "@cluster-connect/base";
import { type ClusterId, parseClusterId, RESUME_GRACE_MS } from "@cluster-connect/protocol";
import {
  type Environment,
  LOG_LEVELS,
  type LogLevel,
  loadConfig,
  TRACING_SCHEMA,
  type TracingSettings,
} from "@cluster-connect/service";
import { z } from "zod";
import { type AgentLimits, LIMIT_SCHEMA } from "./limits.ts";
import { parseUpstreamAddress, type UpstreamAddress } from "./streams/upstream-address.ts";

/** The agent's settings. @see apps/agent/README.md */
export interface AgentConfig {
  readonly relay: {
    /** Names of relays; the first one enrolls the agent. */
    readonly urls: readonly URL[];
    /** To how many of the relays under each name the agent keeps a tunnel. */
    readonly tunnels: number;
    /** PEM file to trust instead of the system's authorities. */
    readonly caFile?: string | undefined;
  };
  /** The cluster of a key in `stateDir` that the relay knows already; such an agent needs no code. */
  readonly knownAs?: ClusterId | undefined;
  /** One-time enrollment code; not looked at once the agent is enrolled. */
  readonly code?: string | undefined;
  /** A file that holds the code. */
  readonly codeFile?: string | undefined;
  /** Where the key and what the relay answered are kept. */
  readonly stateDir: string;
  /** A folder that outlives the process, for its successor to know of it; `stateDir` without one. */
  readonly runDir?: string | undefined;
  readonly authProxy: {
    readonly address: UpstreamAddress;
    /** Its `/readyz`, asked for probes. */
    readonly healthUrl: URL;
    /** The authorities it publishes; the relay hands them to callers. */
    readonly authoritiesFile: string;
  };
  /** Other upstreams a stream may name. */
  readonly upstreams: Readonly<Record<string, UpstreamAddress>>;
  readonly health?: { readonly host: string; readonly port: number } | undefined;
  /** How long a stream is kept when its tunnel was lost. */
  readonly resumeGraceSeconds: number;
  readonly drainSeconds: number;
  readonly limits: AgentLimits;
  /** An OpenTelemetry collector that gets spans; none is kept without. */
  readonly tracing?: TracingSettings | undefined;
  readonly log: { readonly level: LogLevel };
}

const WEB_URL: z.ZodType<URL> = z.url({ protocol: /^https?$/ }).transform((text) => new URL(text));

const RELAY_URL: z.ZodType<URL> = z
  .url({ protocol: /^https?$/ })
  .transform((text) => new URL(text))
  .refine(
    (url) => url.pathname === "/" && url.search === "" && url.hash === "" && url.username === "",
    "expected a scheme, a host and perhaps a port, nothing else",
  )
  .refine(
    (url) => url.protocol === "https:" || isLoopbackHost(url.hostname),
    "expected https: the agent takes http to a relay on this machine only",
  );

const CLUSTER_ID: z.ZodType<ClusterId> = z.string().transform((text, context) => {
  try {
    return parseClusterId(text);
  } catch {
    context.addIssue({ code: "custom", message: "expected 1 to 63 characters of a-z, 0-9 and -" });
    return z.NEVER;
  }
});

const ADDRESS: z.ZodType<UpstreamAddress> = z.string().transform((text, context) => {
  const address = parseUpstreamAddress(text);
  if (address !== undefined) return address;
  context.addIssue({ code: "custom", message: "expected the path of a unix socket or host:port" });
  return z.NEVER;
});

const UPSTREAM_NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

const SCHEMA: z.ZodType<AgentConfig> = z.strictObject({
  relay: z.strictObject({
    urls: z.array(RELAY_URL).min(1),
    tunnels: z.int().min(1).max(16).default(2),
    caFile: z.string().min(1).optional(),
  }),
  knownAs: CLUSTER_ID.optional(),
  code: z.string().min(1).optional(),
  codeFile: z.string().min(1).optional(),
  stateDir: z.string().min(1),
  runDir: z.string().min(1).optional(),
  authProxy: z.strictObject({
    address: ADDRESS,
    healthUrl: WEB_URL,
    authoritiesFile: z.string().min(1),
  }),
  upstreams: z
    .record(
      z
        .string()
        .regex(UPSTREAM_NAME, "expected a name of a-z, 0-9 and -")
        .refine((name) => name !== "kubernetes" && name !== "probe", "expected another name than kubernetes and probe"),
      ADDRESS,
    )
    .default({}),
  health: z.strictObject({ host: z.string().min(1).default("127.0.0.1"), port: z.int().min(0).max(65_535) }).optional(),
  resumeGraceSeconds: z
    .number()
    .min(0)
    .max(86_400)
    .default(RESUME_GRACE_MS / 1_000),
  drainSeconds: z.number().min(0).max(3_600).default(30),
  limits: LIMIT_SCHEMA,
  tracing: TRACING_SCHEMA.optional(),
  log: z.strictObject({ level: z.enum(LOG_LEVELS).default("info") }).prefault({}),
});

/**
 * Reads the agent's settings.
 *
 * @throws ConnectError `CC_CONFIG_INVALID` with every problem, `CC_FILE_MISSING` or `CC_FILE_UNREADABLE`.
 */
export function loadAgentConfig(source: {
  readonly file?: string | undefined;
  readonly env: Environment;
}): Promise<AgentConfig> {
  return loadConfig(SCHEMA, source);
}
