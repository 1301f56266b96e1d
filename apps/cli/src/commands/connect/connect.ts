import { ADMIN_CLUSTER, MADE_CODE, type RelayInfo } from "@cluster-connect/api";
import { parseEnrollmentCode } from "@cluster-connect/auth";
import { type ClusterId, ConnectError, parseClusterId, toConnectError } from "@cluster-connect/protocol";
import type { z } from "zod";
import { readAuthorities, trustReadAuthority } from "../../connect/authority.ts";
import { findChart } from "../../connect/chart.ts";
import { type ImpersonationFlags, narrowImpersonation } from "../../connect/impersonation.ts";
import { install, readAuthentication, readCode, requireAuthentication } from "../../connect/install.ts";
import { findInstallation, type Installation } from "../../connect/installation.ts";
import { checkTarget } from "../../connect/preflight.ts";
import { createSteps, type StepFlags } from "../../connect/steps.ts";
import { type ClusterTools, clusterTools, type ToolFlags } from "../../connect/tool.ts";
import { type SeenCluster, waitConnected } from "../../connect/wait-connected.ts";
import { checkNetwork } from "../../doctor/network.ts";
import type { DoctorReport } from "../../doctor/report.ts";
import { readTextFile } from "../../files/text-file.ts";
import { fetchClusters } from "../../relay/api.ts";
import { chooseRelay, type RelayChoice, type RelayFlags } from "../../relay/choice.ts";
import { confirmAt } from "../../terminal/confirm.ts";
import { chooseTokens } from "../../tokens/choose-tokens.ts";
import { findGivenTokens, type TokenFlags } from "../../tokens/given/token-flags.ts";
import { connectAdmin } from "../admin/api.ts";
import { sendSignatures, signAuthorities } from "../cluster/sign.ts";
import type { CommandContext } from "../context.ts";
import { checkAudiences } from "./audience.ts";

export interface ConnectFlags extends RelayFlags, TokenFlags, ToolFlags, StepFlags, ImpersonationFlags {
  readonly name: string;
  readonly namespace: string;
  readonly code?: string;
  readonly codeFile?: string;
  /** File with Kubernetes' AuthenticationConfiguration. */
  readonly authentication?: string;
  readonly chart?: string;
  readonly values?: readonly string[];
  readonly set?: readonly string[];
  readonly dryRun?: boolean;
  /** The fleet key's private half: signs the cluster's authority. */
  readonly fleetKeyFile?: string;
  readonly timeout: number;
}

const CODE = MADE_CODE.pick({ code: true });
const SEEN: z.ZodType<SeenCluster> = ADMIN_CLUSTER.pick({ status: true, reason: true });

/**
 * Connects the cluster of the person's kubeconfig to a relay. It looks first, then makes a code, installs, and waits
 * until the relay has reached the kube-apiserver through it. Running it again is safe: existing parts stay.
 *
 * @returns 0, or the exit code of the first step that failed.
 */
export async function connect(flags: ConnectFlags, context: CommandContext): Promise<number> {
  const { deps, signal } = context;
  const cluster = parseClusterId(flags.name);
  const relay = await chooseRelay(flags, deps);
  const tools = clusterTools(flags, { signal }, deps);
  const steps = createSteps(flags, { signal }, deps);
  const { report } = steps;
  const place = { cluster, relay: relay.url };
  const info = await checkNetwork(relay.url, report, { signal, expectsOwnAuthority: relay.caFile !== undefined }, deps);
  await checkTarget(flags.namespace, report, tools, deps);
  await checkTaken(cluster, info, flags, report);
  if (report.exitCode() !== 0) return steps.end({ cluster, changed: false });
  const found = await report.check("installation", async () => await checkInstallation(place, flags, tools));
  if (found === undefined) return steps.end({ cluster, changed: false });
  const narrowed = await askNarrowing(found, flags, report, context);
  const code = found.isEnrolled ? undefined : await obtainCode(cluster, flags, report, context);
  if (report.exitCode() !== 0) return steps.end({ cluster, changed: false });
  const installed = await report.check(flags.dryRun === true ? "dry run" : "install", async () => {
    const said = await install(
      {
        namespace: flags.namespace,
        timeoutSeconds: flags.timeout,
        dryRun: flags.dryRun === true,
        signal,
        chart: await findChart(flags.chart, deps),
        values: { ...(await ownValues(cluster, relay, code, flags)), ...narrowed },
        valueFiles: flags.values ?? [],
        sets: flags.set ?? [],
      },
      tools,
    );
    return { value: true, detail: said };
  });
  if (installed === undefined || flags.dryRun === true)
    return steps.end({ cluster, changed: installed === true && !flags.dryRun });
  await waitForProbe(place, flags, report, context);
  await tellAuthority(place, flags, tools, report, context);
  return steps.end({ cluster, changed: true });
}

/** The cluster that is connected, and the relay that it is connected to. */
interface ClusterAtRelay {
  readonly cluster: ClusterId;
  readonly relay: URL;
}

async function checkInstallation(
  { cluster, relay }: ClusterAtRelay,
  flags: ConnectFlags,
  tools: ClusterTools,
): Promise<{ readonly value: Installation; readonly detail: string }> {
  const value = await findInstallation(flags.namespace, tools);
  if (value.cluster !== undefined && value.cluster !== cluster) {
    throw new ConnectError("CC_INSTALL_FAILED", `This cluster is connected as ${value.cluster} already`, {
      hint: `Run \`cluster-connect disconnect\` first, or connect with -n ${value.cluster}.`,
    });
  }
  if (value.isEnrolled && value.relay !== undefined && URL.parse(value.relay)?.origin !== relay.origin) {
    throw new ConnectError("CC_INSTALL_FAILED", `This cluster is connected to ${value.relay} already`, {
      hint: "Run `cluster-connect disconnect` first.",
    });
  }
  if (value.revision === undefined) requireAuthentication(flags);
  const state = value.revision === undefined ? "nothing is installed" : `revision ${value.revision} is installed`;
  return { value, detail: `${state}, ${value.isEnrolled ? "enrolled" : "not enrolled yet"}` };
}

/** Whose tokens the cluster will take is compared with what the relay tells callers to get. */
async function checkTaken(
  cluster: ClusterId,
  info: RelayInfo | undefined,
  { authentication }: ConnectFlags,
  report: DoctorReport,
): Promise<void> {
  const login = info?.login ?? undefined;
  if (authentication === undefined || login === undefined) return;
  await report.check("audience", async () => checkAudiences(cluster, await readAuthentication(authentication), login));
}

/** The auth proxy may act as anybody, cluster administrators too, unless users and groups are named. */
async function askNarrowing(
  found: Installation,
  flags: ConnectFlags,
  report: DoctorReport,
  { deps, signal }: CommandContext,
): Promise<Readonly<Record<string, unknown>>> {
  const given = [...(flags.set ?? []), ...(flags.values ?? [])];
  const isNamed = flags.impersonateUser !== undefined || flags.impersonateGroup !== undefined;
  if (!isNamed && (found.revision !== undefined || given.some((text) => /rbac|\.ya?ml$/.test(text)))) return {};
  const ask = flags.output === "text" && flags.dryRun !== true ? confirmAt(deps) : undefined;
  return await narrowImpersonation(flags, ask, report, { signal });
}

async function obtainCode(
  cluster: ClusterId,
  flags: ConnectFlags,
  report: DoctorReport,
  context: CommandContext,
): Promise<string | undefined> {
  return await report.check("code", async () => {
    const given = await readCode(flags);
    if (given !== undefined) return { value: given, detail: "as given" };
    if (flags.dryRun === true) return { value: "dry-run", detail: "would be made at the relay" };
    try {
      const api = await connectAdmin(flags, context);
      const made = await api.send("POST", "/v1/admin/codes", CODE, { cluster });
      // It goes into the cluster: nothing but a code does.
      return { value: parseEnrollmentCode(made.code), detail: `made at the relay for ${cluster}` };
    } catch (cause) {
      const { code, message } = toConnectError(cause);
      throw new ConnectError(code, `No code for ${cluster}: ${message}`, {
        hint: "Ask an administrator of the relay for one, then give it with --code-file.",
        cause,
      });
    }
  });
}

async function ownValues(
  cluster: ClusterId,
  relay: RelayChoice,
  code: string | undefined,
  flags: ConnectFlags,
): Promise<Readonly<Record<string, unknown>>> {
  const ca = relay.caFile === undefined ? undefined : await readTextFile(relay.caFile);
  return {
    global: { resourceName: cluster },
    relay: { url: relay.url.origin, ...(ca === undefined ? {} : { ca }) },
    ...(code === undefined ? {} : { enrollment: { code } }),
    ...(flags.authentication === undefined
      ? {}
      : { authentication: { jwt: await readAuthentication(flags.authentication) } }),
  };
}

/** Reads the authority from the cluster itself, past the relay: it is trusted here, shown, and signed by the fleet key. */
async function tellAuthority(
  { cluster, relay }: ClusterAtRelay,
  flags: ConnectFlags,
  tools: ClusterTools,
  report: DoctorReport,
  context: CommandContext,
): Promise<void> {
  const { deps, signal } = context;
  const authorities = await report.check("fingerprint", async () => {
    const value = await readAuthorities(flags.namespace, tools);
    const known = { relay, cluster, authorities: value };
    await trustReadAuthority(known, { signal }, deps);
    return { value, detail: `SHA-256 ${value.fingerprints[0]}; callers give --cluster-fingerprint ${cluster}=…` };
  });
  const { fleetKeyFile } = flags;
  if (authorities === undefined || fleetKeyFile === undefined) return;
  await report.check("signature", async () => {
    const signatures = await signAuthorities(fleetKeyFile, cluster, authorities);
    try {
      await sendSignatures(cluster, signatures, flags, context);
      return { value: true, detail: "the fleet key has signed the authority, and the relay hands that on" };
    } catch (error) {
      const detail = `signed, but the relay did not take it: ${toConnectError(error).message}`;
      const warning = `An administrator of the relay runs: cluster-connect clusters sign -n ${cluster} --signature '${signatures}'`;
      return { value: false, detail, warning };
    }
  });
}

async function waitForProbe(
  { cluster, relay }: ClusterAtRelay,
  flags: ConnectFlags,
  report: DoctorReport,
  context: CommandContext,
): Promise<void> {
  const { deps, signal } = context;
  const tokens = chooseTokens(relay, await findGivenTokens(flags, deps), deps);
  const token = await tokens.token("relay", { signal }).catch(() => undefined);
  if (token === undefined) {
    report.skip("end to end", "you are not logged in at the relay; the pods are ready");
    return;
  }
  const seen = async (): Promise<SeenCluster | undefined> => {
    const own = (await fetchClusters(relay, token.token, { signal }, deps)).find(({ id }) => id === cluster);
    if (own !== undefined) return own;
    const api = await connectAdmin(flags, context);
    return await api.send("GET", `/v1/admin/clusters/${cluster}`, SEEN);
  };
  await report.check("end to end", async () => {
    await waitConnected(cluster, { timeoutSeconds: flags.timeout, signal }, seen);
    return { value: true, detail: "the relay reached the kube-apiserver through agent and auth proxy" };
  });
}
