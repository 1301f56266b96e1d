import { SYSTEM_CLOCK } from "@cluster-connect/base";
import { createLogger, type DaemonProcess, parseDaemonFlags, readSettingFile } from "@cluster-connect/service";
import { loadAgentConfig } from "../config.ts";
import { rotateKey } from "../identity/rotate.ts";

const TIMEOUT_MS = 120_000;

/**
 * `rotate --config FILE`: puts a new key in the place of the one in `stateDir`. An agent that runs with that folder takes
 * it by itself; the relay drops the former key once no agent uses it.
 */
export async function runRotate(argv: readonly string[], deps: DaemonProcess): Promise<void> {
  const { configFile, checkConfig } = parseDaemonFlags(argv);
  const config = await loadAgentConfig({ file: configFile, env: deps.env });
  if (checkConfig) return deps.stderr("The settings are valid.");
  const { caFile } = config.relay;
  const ca = caFile === undefined ? undefined : await readSettingFile("relay.caFile", caFile);
  const log = createLogger({ service: "agent", level: config.log.level, ids: {} }, deps.logs);
  const { key, clusterId } = await rotateKey(
    config,
    { ca, signal: AbortSignal.timeout(TIMEOUT_MS) },
    { env: deps.env, log, clock: SYSTEM_CLOCK, random: Math.random },
  );
  deps.stdout(`The agent of ${clusterId} has a new key, ${key.keyId}.`);
}
