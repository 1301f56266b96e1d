import { randomUUID } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { TokenVerifier } from "@cluster-connect/auth";
import { ConnectError } from "@cluster-connect/protocol";
import {
  type CheckResult,
  type Clock,
  errorFields,
  type Health,
  type Logger,
  type Metrics,
  openTracer,
  repeat,
} from "@cluster-connect/service";
import { createAcceptor } from "./acceptor.ts";
import { createAccessReviewer } from "./access-review.ts";
import { createAdmit } from "./admission.ts";
import { type ApiserverClient, createApiserverClient } from "./apiserver-client.ts";
import { createAuthenticate } from "./authenticate.ts";
import { openAuthority } from "./authority-renewal.ts";
import { createServingCertificate } from "./certificate.ts";
import type { Config } from "./config.ts";
import type { IdentityRules } from "./identity.ts";
import { FAREWELL_MS, SWEEP_MS } from "./limits.ts";
import { listenAt } from "./listen.ts";
import { createLive } from "./live.ts";
import { proveOwnAccount } from "./own-account.ts";
import type { StreamOrigin } from "./proxy-header.ts";
import { type ProxyDeps, proxyHttp } from "./proxy-http.ts";
import { observeNumbers, type ProxyMetrics } from "./proxy-metrics.ts";
import { proxyUpgrade } from "./proxy-upgrade.ts";
import { publishAuthorities } from "./publish.ts";
import { createQuota } from "./quota.ts";
import { createRequestLog } from "./request-log.ts";
import { createStreamServer } from "./server.ts";
import { createServiceAccount } from "./service-account.ts";
import { createTokenReviewer } from "./token-review.ts";
import { createUpstream } from "./upstream.ts";
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
  /** Ends the wait for the apiserver at start. */
  readonly stopping: AbortSignal;
}

/** A running auth proxy. */
export interface App {
  /** The port, where an address is listened on. */
  readonly port: number | undefined;
  /** The authority's certificate that clients are to trust. */
  readonly caPem: string;
  /** Lower-case hex SHA-256 of that certificate. */
  readonly fingerprint: string;
  readonly counts: () => { readonly streams: number; readonly live: number };
  /** Takes nothing new, lets what is under way end until the signal is aborted, then ends that too. */
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
  const metrics = deps.proxyMetrics;

  const { publishCaPath } = config;
  const authority = await openAuthority(
    { stateDir: config.stateDir, clusterId: config.clusterId, seconds: config.certificate.caSeconds },
    {
      clock,
      log,
      publish: async (trustPem) => {
        if (publishCaPath !== undefined) await publishAuthorities(publishCaPath, trustPem);
      },
    },
  );
  const hosts = [`${config.clusterId}.${config.certificate.suffix}`, "localhost", "127.0.0.1", "::1"];
  const certificate = await createServingCertificate(
    authority.current,
    { hosts, seconds: config.certificate.servingSeconds },
    { clock, log },
  );

  const account = await createServiceAccount(config.upstream, { clock, log });
  const upstream = createUpstream(config.upstream.url, { ca: account.ca });
  const apiserver = createApiserverClient(upstream, account);
  deps.health.add("apiserver", (options) => askReadiness(apiserver, options.signal));
  const mode = await proveOwnAccount(
    config,
    { signal: deps.stopping },
    { apiserver, clock, log, showRbac: deps.showRbac },
  );
  const rules: IdentityRules = {
    mode,
    extraDomain: config.impersonation.extraDomain,
    clusterId: config.clusterId,
    issuers: config.issuers,
  };

  const { limits } = config;
  const requests = createQuota("requests", { all: limits.requests, perCaller: limits.requestsPerCaller });
  const upgrades = createQuota("upgraded streams", { all: limits.upgrades, perCaller: limits.upgradesPerCaller });
  const live = createLive();
  const tracer = openTracer(config.tracing, { name: "auth-proxy", software: SOFTWARE }, deps);
  const reviewer = config.tokenReview.enabled
    ? createTokenReviewer({ audiences: config.tokenReview.audiences }, { apiserver, now: clock.now })
    : undefined;
  const proxy: ProxyDeps = {
    upstream,
    account,
    apiserver,
    admit: createAdmit({
      authenticate: createAuthenticate({ verifier: deps.verifier, reviewer }),
      accessReviewer: config.impersonation.allowAs ? createAccessReviewer(apiserver) : undefined,
      rules: () => rules,
      requests,
      upgrades,
    }),
    requestLog: createRequestLog({ log, metrics, now: clock.now, newAuditId: randomUUID, tracer }),
    live,
    longStreams: config.longStreams,
    now: clock.now,
  };

  const origins = new WeakMap<object, StreamOrigin>();
  const inFlight = new Set<Promise<void>>();
  const originOf = (request: IncomingMessage): StreamOrigin => origins.get(request.socket) ?? {};
  const track = (work: Promise<void>): void => {
    const settled = work
      .catch((error: unknown) => log.error({ event: "request.failed", ...errorFields(error) }, "request failed"))
      .finally(() => inFlight.delete(settled));
    inFlight.add(settled);
  };
  const streams = createStreamServer({
    request: (request, response) => track(proxyHttp(request, response, originOf(request), proxy)),
    upgrade: (request, client, head) => track(proxyUpgrade(request, client, head, originOf(request), proxy)),
    accept: (socket) => acceptor.accept(socket),
  });
  const acceptor = createAcceptor(
    {
      proxyProtocol: "socket" in config.listen || config.listen.proxyProtocol,
      streams: limits.streams,
      handshakes: limits.handshakes,
    },
    {
      context: certificate.context,
      onStream: (stream, origin) => {
        origins.set(stream, origin);
        streams.serve(stream);
      },
      log,
      metrics,
    },
  );
  observeNumbers(deps.metrics, {
    streams: acceptor.open,
    requests: requests.size,
    upgrades: upgrades.size,
    certificateNotAfter: certificate.notAfter,
    authorityNotAfter: () => authority.current().notAfter,
  });
  const port = await listenAt(streams.server, config.listen);
  const background = Promise.all([
    authority.keep({ signal }),
    certificate.keep({ signal }),
    account.keep({ signal }),
    tracer?.run({ signal }),
    repeat(() => live.sweep(clock.now()), { intervalMs: SWEEP_MS, signal }, clock),
  ]);
  log.info({ event: "serving", mode, fingerprint: authority.current().fingerprint, port }, "serving");

  return {
    port,
    caPem: authority.current().certPem,
    fingerprint: authority.current().fingerprint,
    counts: () => ({ streams: acceptor.open(), live: live.size() }),
    async stop(options) {
      const closed = new Promise<void>((resolve) => streams.server.close(() => resolve()));
      streams.server.closeIdleConnections();
      await untilDone(inFlight, options.signal);
      live.endAll(new ConnectError("CC_DRAINING", "The auth proxy is stopping"));
      // What each caller is told about it takes a moment to go out.
      await untilDone(inFlight, AbortSignal.timeout(FAREWELL_MS));
      streams.server.closeAllConnections();
      acceptor.closeAll();
      await closed;
      stopped.abort();
      await background;
      upstream.close();
    },
  };
}

/** Waits for everything under way, no longer than the signal lets. */
async function untilDone(work: ReadonlySet<Promise<void>>, signal: AbortSignal): Promise<void> {
  const cut = new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
  while (work.size > 0 && !signal.aborted) await Promise.race([Promise.allSettled([...work]), cut]);
}

/** Ready is what the apiserver says, asked now and as ourselves. */
async function askReadiness(apiserver: ApiserverClient, signal: AbortSignal): Promise<CheckResult> {
  const { status } = await apiserver.get("/readyz", { signal });
  return { ok: status === 200, text: `the kube-apiserver answers ${status} to /readyz` };
}
