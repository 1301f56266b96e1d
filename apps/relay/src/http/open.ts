import type { IncomingMessage, Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { TokenVerifier } from "@cluster-connect/auth";
import type { Clock } from "@cluster-connect/base";
import { boundRequests, errorFields, type Health, startHealthServer } from "@cluster-connect/service";
import { compileAdmins } from "../admin/admins.ts";
import type { AuditLog } from "../audit/audit-log.ts";
import type { RelayConfig } from "../config.ts";
import type { RelayMetrics } from "../observe/metrics.ts";
import type { Quotas } from "../quota/quotas.ts";
import { createHttpApi, type HttpApiDeps } from "./api.ts";
import type { RequestCallers } from "./authenticate.ts";
import { createCallerAddress } from "./caller-address.ts";
import { createRelayServer } from "./server.ts";
import { boundSilentSockets } from "./silent-sockets.ts";

/** The relay's public server with its routes; nothing listens yet. */
export interface HttpFront {
  readonly server: Server;
  /** Where metrics are served when they have a port of their own. */
  readonly metricsAddress: AddressInfo | undefined;
  /** Follows the certificate's files until the signal is aborted. */
  watch(options: { readonly signal: AbortSignal }): Promise<void>;
  /** Ends every socket, those of channels as well. */
  close(): Promise<void>;
}

export interface HttpFrontDeps
  extends Pick<HttpApiDeps, "admitSocket" | "authenticate" | "metrics" | "software" | "grants" | "log"> {
  readonly api: Pick<HttpApiDeps, "store" | "registry" | "tunnelsElsewhere" | "statuses" | "instanceId" | "ids">;
  readonly health: Health;
  readonly callers: Pick<RequestCallers, "get">;
  /** Whether the issuers trusted now would accept a caller. */
  readonly holds: TokenVerifier["holds"];
  readonly audit: Pick<AuditLog, "refused">;
  readonly quotas: Quotas;
  readonly relayMetrics: Pick<RelayMetrics, "refusedUpgrade">;
  readonly clock: Clock;
}

/** @throws ConnectError of a file that the settings name, `CC_PORT_IN_USE` for the port of the metrics. */
export async function openHttpFront(config: RelayConfig, deps: HttpFrontDeps): Promise<HttpFront> {
  const { clock, quotas, health, metrics, relayMetrics } = deps;
  const { server, watch } = await createRelayServer(config, deps);
  const onRefused = (): void => relayMetrics.refusedUpgrade("CC_LIMIT_REACHED");
  const onFailed = (error: unknown): void =>
    deps.log.error({ event: "socket.failed", ...errorFields(error) }, "a socket could not be bounded, and is ended");
  boundRequests(server, { onRefused, onFailed });
  boundSilentSockets(server, config, { quotas, onRefused, onFailed });
  const addressOf = createCallerAddress(config.trustedProxies);
  const admins = compileAdmins(config.admins, { now: clock.now });
  const api = await createHttpApi({
    ...deps.api,
    server,
    authenticate: deps.authenticate,
    health,
    metrics,
    grants: deps.grants,
    log: deps.log,
    login: config.login,
    ownMetrics: config.metrics === undefined,
    authority: config.publicUrl.host,
    software: deps.software,
    now: clock.now,
    admins,
    stillAdmits: (principal) => deps.holds(principal) && admins.admits(principal, "read"),
    admitSocket: deps.admitSocket,
    admit: (request) => quotas.admitRequest(addressOf(request)),
    admitList: quotas.admitList,
    admitReader: (request) => quotas.admitReader(addressOf(request)),
    onRefused: (refusal, request: IncomingMessage) => {
      const actor = deps.callers.get(request) ?? "unknown";
      const entry = { event: "request.refused", actor, at: new Date(clock.now()), ...refusal };
      deps.audit.refused({ ...entry, address: addressOf(request) });
    },
  });
  const operations = config.metrics && (await startHealthServer(config.metrics, { health, metrics }));
  return {
    server,
    metricsAddress: operations?.address,
    watch,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await Promise.all([api.close(), operations?.close(), closed]);
    },
  };
}
