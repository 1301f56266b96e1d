import { SYSTEM_CLOCK } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import {
  createLogger,
  type DaemonProcess,
  errorFields,
  parseDaemonFlags,
  readSettingFile,
} from "@cluster-connect/service";
import { type AgentConfig, loadAgentConfig } from "../config.ts";
import { type EnrollDeps, enrollAgain, ensureIdentity, readCode } from "../identity/enroll.ts";
import { type Identity, readIdentity } from "../identity/state-folder.ts";

/** The cluster that the code must be for. */
const CLUSTER_VARIABLE = "CC_CLUSTER_ID";

/**
 * `enroll --config FILE`: enrolls with the one-time code, writes key and enrollment to `stateDir` and ends. Waits for a
 * relay that cannot be reached. Where both are there it does nothing, unless the relay does not take the key any more:
 * then the code lets a fresh one in.
 *
 * @throws ConnectError `CC_ENROLLMENT_CODE_INVALID` when the code is refused, or is another cluster's than the one that
 *   `CC_CLUSTER_ID` names.
 */
export async function runEnroll(argv: readonly string[], deps: DaemonProcess): Promise<void> {
  const { configFile, checkConfig } = parseDaemonFlags(argv);
  const config = await loadAgentConfig({ file: configFile, env: deps.env });
  if (checkConfig) return deps.stderr("The settings are valid.");
  const { caFile } = config.relay;
  const ca = caFile === undefined ? undefined : await readSettingFile("relay.caFile", caFile);
  const log = createLogger({ service: "agent", level: config.log.level, ids: {} }, deps.logs);
  const stop = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const) deps.signals.on(signal, () => stop.abort());
  const enrollDeps = { env: deps.env, log, clock: SYSTEM_CLOCK, random: Math.random };
  const options = { ca, signal: stop.signal };
  const before = await readIdentity(config.stateDir);
  const identity =
    before === undefined
      ? await ensureIdentity(config, options, enrollDeps)
      : await keepOrRenew(before, config, options, enrollDeps);
  const expected = deps.env[CLUSTER_VARIABLE];
  if (expected !== undefined && expected !== identity.clusterId) {
    throw new ConnectError(
      "CC_ENROLLMENT_CODE_INVALID",
      `The code is for the cluster ${identity.clusterId}, this one is called ${expected}`,
    );
  }
  deps.stdout(`Enrolled as ${identity.clusterId}.`);
}

/** Longest wait for a relay's word about a key that may well be good. */
const ASK_TIMEOUT_MS = 20_000;

/** @throws ConnectError `CC_ENROLLMENT_CODE_INVALID` when neither key nor code is good. */
async function keepOrRenew(
  before: Identity,
  config: AgentConfig,
  options: { readonly ca: string | undefined; readonly signal: AbortSignal },
  deps: EnrollDeps,
): Promise<Identity> {
  const code = await readCode(config);
  if (code === undefined) return before;
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(ASK_TIMEOUT_MS)]);
  try {
    return (await enrollAgain(before, config, { ...options, code, signal }, deps)) ?? before;
  } catch (error) {
    if (error instanceof ConnectError && error.code === "CC_ENROLLMENT_CODE_INVALID") throw error;
    deps.log.warn({ event: "enrollment.kept", ...errorFields(error) }, "the key is kept: no relay judged it");
    return before;
  }
}
