import { ConnectError } from "@cluster-connect/protocol";
import {
  createLogger,
  type DaemonProcess,
  parseDaemonFlags,
  readSettingFile,
  SYSTEM_CLOCK,
} from "@cluster-connect/service";
import { loadAgentConfig } from "../config.ts";
import { ensureIdentity } from "../enroll.ts";

/** The cluster that the code must be for. */
const CLUSTER_VARIABLE = "CC_CLUSTER_ID";

/**
 * `enroll --config FILE`: enrolls with the one-time code, writes key and enrollment to `stateDir` and ends; does
 * nothing where both are there. Waits for a relay that cannot be reached.
 *
 * @throws ConnectError `CC_ENROLLMENT_CODE_INVALID` when the code is refused, or is another cluster's than the one that
 *   `CC_CLUSTER_ID` names.
 */
export async function runEnroll(argv: readonly string[], deps: DaemonProcess): Promise<void> {
  const { configFile } = parseDaemonFlags(argv);
  const config = await loadAgentConfig({ file: configFile, env: deps.env });
  const { caFile } = config.relay;
  const ca = caFile === undefined ? undefined : await readSettingFile("relay.caFile", caFile);
  const log = createLogger({ service: "agent", level: config.log.level, ids: {} });
  const stop = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const) deps.signals.on(signal, () => stop.abort());
  const identity = await ensureIdentity(
    config,
    { ca, signal: stop.signal },
    { env: deps.env, log, clock: SYSTEM_CLOCK, random: Math.random },
  );
  const expected = deps.env[CLUSTER_VARIABLE];
  if (expected !== undefined && expected !== identity.clusterId) {
    throw new ConnectError(
      "CC_ENROLLMENT_CODE_INVALID",
      `The code is for the cluster ${identity.clusterId}, this one is called ${expected}`,
    );
  }
  deps.stdout(`Enrolled as ${identity.clusterId}.`);
}
