import { randomUUID } from "node:crypto";
import type { TokenVerifier } from "@cluster-connect/auth";
import { type Clock, repeat } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import { type Health, type Logger, type Metrics, type OpenFileLimit, openTracer } from "@cluster-connect/service";
import { createAccessReviewer } from "./admission/access-review.ts";
import { type Admit, createAdmit } from "./admission/admit.ts";
import { createAuthenticate } from "./admission/authenticate.ts";
import type { ImpersonationMode } from "./admission/identity.ts";
import { createTokenReviewer } from "./admission/token-review.ts";
import { type ApiserverClient, createApiserverClient } from "./apiserver/client.ts";
import { createClusterUidPublisher } from "./apiserver/cluster-uid.ts";
import { askReadiness } from "./apiserver/readiness.ts";
import { createServiceAccount } from "./apiserver/service-account.ts";
import { createUpstream } from "./apiserver/upstream.ts";
import { openCertificates } from "./certificates/certificates.ts";
import type { Config } from "./config.ts";
import { createInFlight } from "./ending/in-flight.ts";
import { createUnderWay } from "./ending/under-way.ts";
import { createFront } from "./entry/front.ts";
import { FINAL_MESSAGE_MS, SWEEP_MS } from "./limits/limits.ts";
import { createQuotas, type MemoryUse, type RequestQuotas } from "./limits/quotas.ts";
import { createRequestLog } from "./observe/log.ts";
import type { ProxyMetrics } from "./observe/metrics.ts";
import { observeNumbers } from "./observe/numbers.ts";
import { proveOwnAccount } from "./privileges/prove.ts";
import { type HttpProxyDeps, proxyHttp } from "./proxying/http.ts";
import { proxyUpgrade } from "./proxying/upgrade.ts";
import { SOFTWARE } from "./version.ts";

export interface AppDeps {
  readonly verifier: Pick<TokenVerifier, "verify" | "status">;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly proxyMetrics: ProxyMetrics;
  readonly health: Health;
  /** Shows the role that the account should have, when it has another. */
  readonly showRbac: (yaml: string) => void;
  /** How much memory the process has and may have. */
  readonly memory: () => MemoryUse;
  /** Ends the wait for the apiserver at start. */
  readonly stopping: AbortSignal;
  /** The system is asked without it. */
  readonly openFileLimit?: OpenFileLimit | undefined;
}

/** A running auth proxy. */
export interface App {
  /** The port, where an address is listened on. */
  readonly port: number | undefined;
  /** The authority's certificate that clients are to trust. */
  readonly caPem: string;
  /** Lower-case hex SHA-256 of that certificate. */
  readonly fingerprint: string;
  readonly counts: () => { readonly streams: number; readonly underWay: number };
  /** Takes nothing new and lets open requests end until the signal is aborted, then ends those too. */
  stop(options: { readonly signal: AbortSignal }): Promise<void>;
}

/**
 * Puts the parts together and serves.
 *
 * @throws ConnectError when a file cannot be read, the account's rights are wrong, or the address is taken.
 */
export async function startApp(config: Config, deps: AppDeps): Promise<App> {
  const { clock, log } = deps;
  const stopped = new AbortController();
  const { signal } = stopped;

  const account = await createServiceAccount(config.upstream, deps);
  const upstream = createUpstream(config.upstream.url, { http2: config.http2 }, { ca: account.ca, clock });
  const apiserver = createApiserverClient(upstream, account, deps);
  // Before the authorities: an agent that waits for those finds it when it dials.
  const clusterUid = createClusterUidPublisher(config.publishCaPath, { ...deps, apiserver });
  await clusterUid.publish({ signal: deps.stopping });
  const certificates = await openCertificates(config, deps);
  deps.health.add("apiserver", (options) => askReadiness(apiserver, options.signal));
  const mode = await proveOwnAccount(config, { signal: deps.stopping }, { ...deps, apiserver });

  const quotas = createQuotas(config.limits, deps);
  const underWay = createUnderWay();
  const inFlight = createInFlight(deps);
  const tracer = openTracer(config.tracing, { name: "auth-proxy", software: SOFTWARE }, deps);
  const requestLog = createRequestLog({
    log,
    metrics: deps.proxyMetrics,
    now: clock.now,
    newAuditId: randomUUID,
    tracer,
  });
  const proxy: HttpProxyDeps = {
    upstream,
    account,
    apiserver,
    admit: openAdmission(config, mode, { ...deps, apiserver, quotas }),
    requestLog,
    underWay,
    longStreams: config.longStreams,
    clock,
  };
  const front = createFront(
    config,
    {
      request: (caller, arrival) => inFlight.track(proxyHttp(caller, arrival, proxy)),
      upgrade: (request, client, head, arrival) => inFlight.track(proxyUpgrade(request, client, head, arrival, proxy)),
      refused: requestLog.refused,
    },
    { certificates, clock, log, metrics: deps.proxyMetrics, openFileLimit: deps.openFileLimit },
  );
  observeNumbers(deps.metrics, { front, upstreamSessions: upstream.http2Sessions, quotas, certificates });
  const port = await front.listen();

  const background = Promise.all([
    certificates.keep({ signal }),
    clusterUid.keep({ signal }),
    account.keep({ signal }),
    tracer?.run({ signal }),
    repeat(() => underWay.sweep(clock.now()), { intervalMs: SWEEP_MS, signal }, { clock }),
  ]);
  const { certPem, fingerprint } = certificates.authority.current();
  log.info({ event: "serving", mode, fingerprint, port }, "serving");

  return {
    port,
    caPem: certPem,
    fingerprint,
    counts: () => ({ streams: front.open(), underWay: underWay.size() }),
    async stop(options) {
      front.refuseNew();
      await inFlight.settled(options.signal);
      underWay.endAll(new ConnectError("CC_DRAINING", "The auth proxy is stopping"));
      // Each caller's last message takes a moment to go out.
      await inFlight.settled(AbortSignal.timeout(FINAL_MESSAGE_MS));
      await front.close();
      stopped.abort();
      await background;
      upstream.close();
    },
  };
}

function openAdmission(
  config: Pick<Config, "impersonation" | "clusterId" | "issuers" | "tokenReview">,
  mode: ImpersonationMode,
  deps: Pick<AppDeps, "verifier" | "clock"> & { readonly apiserver: ApiserverClient; readonly quotas: RequestQuotas },
): Admit {
  const { apiserver, clock } = deps;
  const { enabled, audiences } = config.tokenReview;
  const { allowAs, extraDomain, extraKeys } = config.impersonation;
  const reviewer = enabled ? createTokenReviewer({ audiences }, { apiserver, now: clock.now }) : undefined;
  return createAdmit({
    authenticate: createAuthenticate({ verifier: deps.verifier, reviewer }),
    accessReviewer: allowAs ? createAccessReviewer(apiserver) : undefined,
    rules: { mode, extraDomain, extraKeys, clusterId: config.clusterId, issuers: config.issuers },
    quotas: deps.quotas,
    clock,
  });
}
