import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  createClaimMapper,
  createTokenVerifier,
  SIGNATURE_ALGORITHMS,
  SYSTEM_VERIFIER_DEPS,
  type TrustedIssuer,
} from "@cluster-connect/auth";
import { startTestIssuer, type TestIssuer } from "@cluster-connect/auth/testing";
import { type Clock, SYSTEM_CLOCK } from "@cluster-connect/base";
import { createHealth, createMetrics, type Health, type Metrics } from "@cluster-connect/service";
import { createMemoryLogger, type MemoryLogger } from "@cluster-connect/service/testing";
import { type App, type AppDeps, startApp } from "../../src/app.ts";
import { loadAuthority } from "../../src/certificates/authority.ts";
import type { Config } from "../../src/config.ts";
import { DEFAULT_LIMITS } from "../../src/limits/limits.ts";
import { createProxyMetrics } from "../../src/observe/metrics.ts";
import type { RawTarget } from "./raw-client.ts";
import { type RecordingUpstream, startRecordingUpstream } from "./recording-upstream.ts";

const AUDIENCE = "https://cluster.example";
export const OWN_TOKEN = "own-service-account-token";
export const ALICE = "alice@example.org";

/** A running auth proxy between a test issuer and a recording upstream. */
export interface Fixture extends AsyncDisposable {
  readonly app: App;
  readonly issuer: TestIssuer;
  readonly upstream: RecordingUpstream;
  readonly log: MemoryLogger;
  readonly metrics: Metrics;
  readonly health: Health;
  readonly folder: string;
  /** PEM of the apiserver's authority. */
  readonly upstreamCa: string;
  readonly target: RawTarget;
  /** A token for alice, in two groups; the given claims replace its own. */
  token(claims?: Readonly<Record<string, unknown>>): Promise<string>;
}

export interface FixtureOptions {
  readonly config?: Partial<Config>;
  /** Takes the place of the recording one. */
  readonly upstream?: { readonly url: string; readonly caPem: string };
  readonly trusted?: Partial<TrustedIssuer>;
  /** Whether it publishes authorities and the cluster's UID, which it asks of the upstream then. */
  readonly publishes?: boolean;
  /** Called before the auth proxy starts. */
  readonly prepare?: (upstream: RecordingUpstream) => void;
  readonly clock?: Clock;
  /** Whether the issuer is still trusted. */
  readonly isTrusted?: () => boolean;
  readonly memory?: AppDeps["memory"];
  readonly openFileLimit?: AppDeps["openFileLimit"];
  /** Takes the shown rules as the right role. */
  readonly shown?: string[];
  /** For a start that fails. */
  readonly log?: MemoryLogger;
}

export async function createFixture(options: FixtureOptions = {}): Promise<Fixture> {
  const folder = await mkdtemp(join(tmpdir(), "auth-proxy-"));
  const issuer = await startTestIssuer();
  const ca = await loadAuthority(join(folder, "upstream"), { clusterId: "up", seconds: 3_600, now: new Date() });
  const upstream = await startRecordingUpstream(await ca.issue(["127.0.0.1"], { seconds: 3_600, now: new Date() }));
  options.prepare?.(upstream);
  const upstreamCa = options.upstream?.caPem ?? ca.certPem;
  await writeFile(join(folder, "ca.crt"), upstreamCa);
  await writeFile(join(folder, "token"), `${OWN_TOKEN}\n`);
  const publishing = options.publishes === true ? { publishCaPath: join(folder, "published", "ca.crt") } : {};
  const config = testConfig(folder, options.upstream?.url ?? upstream.url, { ...publishing, ...options.config });
  const { log = createMemoryLogger() } = options;
  const metrics = createMetrics({ service: "auth-proxy" });
  const health = createHealth();
  const stopping = new AbortController();
  const dispose = async (): Promise<void> => {
    await issuer[Symbol.asyncDispose]();
    await upstream[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  };
  const verifier = createTokenVerifier([trust(issuer, options.trusted)], {}, SYSTEM_VERIFIER_DEPS);
  try {
    const app = await startApp(config, {
      verifier: {
        verify: verifier.verify,
        status: () => (options.isTrusted?.() === false ? [] : verifier.status()),
      },
      clock: options.clock ?? SYSTEM_CLOCK,
      log,
      metrics,
      proxyMetrics: createProxyMetrics(metrics),
      health,
      memory: options.memory ?? (() => ({ usedBytes: 0, limitBytes: 0 })),
      showRbac: (yaml) => options.shown?.push(yaml),
      stopping: stopping.signal,
      openFileLimit: options.openFileLimit,
    });
    return {
      app,
      issuer,
      upstream,
      log,
      metrics,
      health,
      folder,
      upstreamCa,
      target: { port: app.port ?? 0, caPem: app.caPem },
      token: (claims = {}) =>
        issuer.sign({ aud: AUDIENCE, sub: "alice", email: ALICE, groups: ["dev", "ops"], ...claims }),
      async [Symbol.asyncDispose]() {
        await app.stop({ signal: AbortSignal.abort() });
        await dispose();
      },
    };
  } catch (error) {
    await dispose();
    throw error;
  }
}

function trust(issuer: TestIssuer, changes: Partial<TrustedIssuer> = {}): TrustedIssuer {
  return {
    url: issuer.url,
    audiences: [AUDIENCE],
    algorithms: SIGNATURE_ALGORITHMS,
    allowInsecureLoopback: true,
    map: createClaimMapper({
      username: { claim: "email", prefix: "" },
      groups: { claim: "groups", prefix: "" },
      uid: { claim: "sub" },
    }),
    ...changes,
  };
}

export const IMPERSONATION: Config["impersonation"] = {
  mode: "legacy",
  allowAs: false,
  extraDomain: "connect.example.org",
  extraKeys: [],
  users: [],
  groups: [],
};

function testConfig(folder: string, url: string, changes: Partial<Config> = {}): Config {
  return {
    clusterId: "demo",
    listen: { host: "127.0.0.1", port: 0, proxyProtocol: true },
    http2: true,
    stateDir: join(folder, "state"),
    authenticationConfig: join(folder, "issuers.yaml"),
    allowInsecureLoopbackIssuer: true,
    upstream: { url, caFile: join(folder, "ca.crt"), tokenFile: join(folder, "token") },
    health: { host: "127.0.0.1", port: 0 },
    certificate: { caSeconds: 3_600, servingSeconds: 3_600 },
    impersonation: IMPERSONATION,
    tokenReview: { enabled: false, audiences: [] },
    issuers: {},
    longStreams: { onExpiry: "end", maximumSeconds: 3_600 },
    limits: DEFAULT_LIMITS,
    selfCheck: false,
    toleratedPrivileges: [],
    drainSeconds: 1,
    log: { level: "info" },
    ...changes,
  };
}
