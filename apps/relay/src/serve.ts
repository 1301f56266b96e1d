import { randomBytes } from "node:crypto";
import {
  createFetchDocument,
  createReloadingVerifier,
  type ReloadEvent,
  type ReloadingVerifier,
  SYSTEM_RELOAD_DEPS,
} from "@cluster-connect/auth";
import { SYSTEM_CLOCK } from "@cluster-connect/base";
import { createSessionDeps } from "@cluster-connect/framing";
import { proxyFor } from "@cluster-connect/framing/ws";
import {
  createInstanceId,
  createMetrics,
  createShutdown,
  type Environment,
  errorFields,
  type Logger,
  onHangup,
  type SignalSource,
} from "@cluster-connect/service";
import { requireOwnAudience, requireOwnAudiences } from "./audience-check.ts";
import type { RelayConfig } from "./config.ts";
import { createRelayIds } from "./ids.ts";
import { startRelay } from "./relay.ts";
import { readStorePlace } from "./store/open/place.ts";
import { openStore } from "./store/store.ts";

/** Dependencies of the `serve` command on its process. */
export interface ServeDeps {
  readonly signals: SignalSource;
  readonly software: string;
  /** Names the HTTP proxies on the way to issuers. */
  readonly env: Environment;
  readonly createLog: (ids: Readonly<Record<string, unknown>>) => Logger;
  /** Lines of the log that were dropped. */
  readonly droppedLines: () => number;
}

/** Time for the sessions left after the drain's own deadline. */
const CLOSE_MARGIN_MS = 5_000;

/**
 * Runs a relay until it is told to stop.
 *
 * @throws ConnectError when it cannot start.
 */
export async function serveRelay(config: RelayConfig, deps: ServeDeps): Promise<void> {
  const instanceId = createInstanceId();
  const log = deps.createLog({ instanceId });
  const drainMs = config.drainSeconds * 1_000;
  const verifier = await createVerifier(config, { env: deps.env, onEvent: (event) => logReload(event, log) });
  await requireOwnAudiences(config);
  const place = await readStorePlace(config);
  const onIdleError = (error: Error): void =>
    log.warn({ event: "store.interrupted", ...errorFields(error) }, "the database ended a channel that was not in use");
  const store = await openStore(place, new Date(), { onIdleError });
  const shutdown = createShutdown({ deadlineMs: drainMs + CLOSE_MARGIN_MS }, { signals: deps.signals, log });
  onHangup(
    { signal: shutdown.stopping },
    { signals: deps.signals, log, reload: () => verifier.reload({ signal: shutdown.stopping }) },
  );
  shutdown.add("store", () => store.close());
  const watching = verifier.watch({ signal: shutdown.stopping });
  shutdown.add("authentication", () => watching);
  try {
    const relay = await startRelay(config, {
      instanceId,
      software: deps.software,
      store,
      verifier,
      log,
      random: Math.random,
      ids: createRelayIds(randomBytes),
      metrics: createMetrics({ service: "relay", process: true, droppedLines: deps.droppedLines }),
      clock: SYSTEM_CLOCK,
      sessionDeps: createSessionDeps(),
    });
    shutdown.add("server", () => relay.close());
    shutdown.add("sessions", ({ signal }) => relay.drain({ deadlineMs: drainMs, signal }));
    const { address, port } = relay.address;
    const publicUrl = config.publicUrl.origin;
    log.info({ event: "relay.listening", address, port, publicUrl, relayId: store.relayId }, "relay listening");
  } catch (error) {
    shutdown.begin("start failed");
    await shutdown.done;
    throw error;
  }
  verifier.load({ signal: shutdown.stopping }).catch((error: unknown) => {
    log.warn({ event: "issuer.unreachable", ...errorFields(error) }, "an issuer's keys could not be fetched yet");
  });
  await shutdown.done;
}

/**
 * The verifier that follows the file of the settings.
 *
 * @throws ConnectError `CC_FILE_MISSING`, `CC_FILE_UNREADABLE` or `CC_CONFIG_INVALID`.
 */
export function createVerifier(
  config: Pick<RelayConfig, "authenticationConfig" | "allowInsecureLoopbackIssuer" | "login">,
  options: { readonly env: Environment; readonly onEvent?: (event: ReloadEvent) => void },
): Promise<ReloadingVerifier> {
  const { authenticationConfig, allowInsecureLoopbackIssuer: allowInsecureLoopback } = config;
  const { env, onEvent = () => undefined } = options;
  const fetchDocument = createFetchDocument({ proxyFor: (url) => proxyFor(url, env) });
  return createReloadingVerifier(
    authenticationConfig,
    { allowInsecureLoopback, onEvent, checkAudience: (audience) => requireOwnAudience(config, audience) },
    { ...SYSTEM_RELOAD_DEPS, fetchDocument },
  );
}

function logReload(event: ReloadEvent, log: Logger): void {
  switch (event.kind) {
    case "reloaded":
      log.info({ event: "authentication.reloaded", issuers: event.issuers }, "authentication configuration reloaded");
      return;
    case "kept":
      log.error({ event: "authentication.kept", ...errorFields(event.error) }, "the former configuration goes on");
      return;
  }
}
