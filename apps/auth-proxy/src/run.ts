import { totalmem } from "node:os";
import {
  type AuthenticationConfigOptions,
  createFetchDocument,
  createReloadingVerifier,
  type ReloadEvent,
  SYSTEM_RELOAD_DEPS,
} from "@cluster-connect/auth";
import { SYSTEM_CLOCK } from "@cluster-connect/base";
import { proxyFor } from "@cluster-connect/framing/ws";
import { parseClusterId } from "@cluster-connect/protocol";
import {
  createHealth,
  createInstanceId,
  createLogger,
  createMetrics,
  createShutdown,
  type DaemonProcess,
  errorFields,
  exitCodeOf,
  type Logger,
  onHangup,
  parseDaemonFlags,
  startHealthServer,
} from "@cluster-connect/service";
import { startApp } from "./app.ts";
import { runAuthority } from "./commands/authority.ts";
import { type Config, loadProxyConfig } from "./config.ts";
import { checkIssuers } from "./observe/issuers.ts";
import { createProxyMetrics, type ProxyMetrics } from "./observe/metrics.ts";
import { SOFTWARE } from "./version.ts";

const USAGE = `Usage: cluster-connect-auth-proxy [authority] --config FILE [--check-config]

Ends TLS in the cluster, verifies the caller's token and forwards to the kube-apiserver as the caller.

  authority            only make the cluster's authority, or renew it when half of its life is over, and exit
  (none)               serve

  -c, --config FILE    settings; CC_CONFIG and CC_* variables work too
      --check-config   check the settings and exit
  -h, --help           this text
      --version        the version`;

/** Runs the auth proxy until a signal. @returns the exit code. */
export function runAuthProxy(argv: readonly string[], deps: DaemonProcess): Promise<number> {
  return exitCodeOf(() => runCommand(argv, deps), deps);
}

async function runCommand(argv: readonly string[], deps: DaemonProcess): Promise<number> {
  // Also behind a command: a question about it must not run it.
  if (argv.some((word) => word === "--help" || word === "-h")) {
    deps.stdout(USAGE);
    return 0;
  }
  if (argv[0] === "authority") {
    await runAuthority(argv.slice(1), deps);
    return 0;
  }
  const flags = parseDaemonFlags(argv);
  if (flags.version) {
    deps.stdout(SOFTWARE);
    return 0;
  }
  const config = await loadProxyConfig({ file: flags.configFile, env: deps.env });
  if (!flags.checkConfig) return await serveAuthProxy(config, deps);
  await createReloadingVerifier(config.authenticationConfig, issuerOptions(config));
  deps.stderr("The settings are valid.");
  return 0;
}

async function serveAuthProxy(config: Config, deps: DaemonProcess): Promise<number> {
  const ids = { instanceId: createInstanceId(), clusterId: config.clusterId };
  const log = createLogger({ service: "auth-proxy", level: config.log.level, ids }, deps.logs);
  const metrics = createMetrics({ service: "auth-proxy", process: true, droppedLines: () => deps.logs.dropped });
  const proxyMetrics = createProxyMetrics(metrics);
  const health = createHealth();
  const shutdown = createShutdown({ deadlineMs: config.drainSeconds * 1_000 }, { signals: deps.signals, log });
  const verifier = await createReloadingVerifier(
    config.authenticationConfig,
    { ...issuerOptions(config), onEvent: (event) => tellReload(event, log, proxyMetrics) },
    { ...SYSTEM_RELOAD_DEPS, fetchDocument: createFetchDocument({ proxyFor: (url) => proxyFor(url, deps.env) }) },
  );
  onHangup(
    { signal: shutdown.stopping },
    { signals: deps.signals, log, reload: () => verifier.reload({ signal: shutdown.stopping }) },
  );
  const background = new AbortController();
  const watching = verifier.watch({ signal: background.signal });
  verifier.load({ signal: background.signal }).catch((error: unknown) => {
    log.warn({ event: "issuer.unreachable", ...errorFields(error) }, "an issuer's keys are not there yet");
  });
  health.add("issuers", checkIssuers(verifier));
  const healthServer = await startHealthServer(config.health, { health, metrics });
  shutdown.add("health", () => healthServer.close());
  shutdown.add("issuers", async () => {
    background.abort();
    await watching;
  });
  try {
    const app = await startApp(config, {
      verifier,
      clock: SYSTEM_CLOCK,
      log,
      metrics,
      proxyMetrics,
      health,
      memory: () => ({ usedBytes: process.memoryUsage.rss(), limitBytes: memoryLimit() }),
      showRbac: (yaml) => deps.stderr(`The role that is right:\n---\n${yaml}`),
      stopping: shutdown.stopping,
    });
    shutdown.add("streams", ({ signal }) => app.stop({ signal }));
    shutdown.add("ready", () => health.drain());
  } catch (error) {
    if (!shutdown.stopping.aborted) {
      shutdown.begin("failed to start");
      await shutdown.done;
      throw error;
    }
  }
  const { inTime } = await shutdown.done;
  return inTime ? 0 : 1;
}

/** The container's memory limit. A machine without containers names a number beyond all memory, which is no limit. */
function memoryLimit(): number {
  const bytes = process.constrainedMemory();
  return bytes < totalmem() ? bytes : 0;
}

function issuerOptions(config: Config): AuthenticationConfigOptions {
  return { allowInsecureLoopback: config.allowInsecureLoopbackIssuer, clusterId: parseClusterId(config.clusterId) };
}

function tellReload(event: ReloadEvent, log: Logger, metrics: ProxyMetrics): void {
  metrics.configuration(event.kind);
  switch (event.kind) {
    case "reloaded":
      log.info({ event: "issuers.reloaded", issuers: event.issuers }, "issuers reloaded");
      return;
    case "kept":
      log.error({ event: "issuers.kept", ...errorFields(event.error) }, "not all of the issuers' file can take over");
  }
}
