import { createReloadingVerifier, type ReloadEvent, type ReloadingVerifier } from "@cluster-connect/auth";
import { SYSTEM_SESSION_DEPS } from "@cluster-connect/framing";
import {
  createInstanceId,
  createMetrics,
  createShutdown,
  errorFields,
  type Logger,
  type SignalSource,
  SYSTEM_CLOCK,
} from "@cluster-connect/service";
import type { RelayConfig } from "./config.ts";
import { startRelay } from "./relay.ts";
import { readStorePlace } from "./store/place.ts";
import { openStore } from "./store/store.ts";

/** What the `serve` command needs from its process. */
export interface ServeDeps {
  readonly signals: SignalSource;
  readonly software: string;
  readonly createLog: (ids: Readonly<Record<string, unknown>>) => Logger;
}

/** Time for what is left after the drain's own deadline. */
const CLOSE_MARGIN_MS = 5_000;

/**
 * Runs a relay until it is told to stop.
 *
 * @throws ConnectError when it cannot start.
 */
export async function serve(config: RelayConfig, deps: ServeDeps): Promise<void> {
  const instanceId = createInstanceId();
  const log = deps.createLog({ instanceId });
  const drainMs = config.drainSeconds * 1_000;
  const verifier = await createVerifier(config, (event) => logReload(event, log));
  const place = await readStorePlace(config);
  const onIdleError = (error: Error): void =>
    log.warn({ event: "store.interrupted", ...errorFields(error) }, "the database ended a channel that was not in use");
  const store = await openStore(place, new Date(), { onIdleError });
  const shutdown = createShutdown({ deadlineMs: drainMs + CLOSE_MARGIN_MS }, { signals: deps.signals, log });
  shutdown.add("store", () => store.close());
  const watching = verifier.watch({ signal: shutdown.stopping });
  shutdown.add("authentication", () => watching);
  try {
    const relay = await startRelay(config, {
      ...{ instanceId, store, verifier, log, software: deps.software },
      metrics: createMetrics({ service: "relay", process: true }),
      clock: SYSTEM_CLOCK,
      sessionDeps: SYSTEM_SESSION_DEPS,
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
  config: Pick<RelayConfig, "authenticationConfig" | "allowInsecureLoopbackIssuer">,
  onEvent: (event: ReloadEvent) => void = () => undefined,
): Promise<ReloadingVerifier> {
  const { authenticationConfig, allowInsecureLoopbackIssuer: allowInsecureLoopback } = config;
  return createReloadingVerifier(authenticationConfig, { allowInsecureLoopback, onEvent });
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
