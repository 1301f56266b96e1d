import { type ClusterId, ConnectError, parseClusterId, toConnectError } from "@cluster-connect/protocol";
import { z } from "zod";
import { connectAdmin } from "../admin/api.ts";
import { findChart } from "../connect/chart.ts";
import { install, readAuthentication, readCode, requireAuthentication } from "../connect/install.ts";
import { findInstallation, type Installation } from "../connect/installation.ts";
import { checkTarget } from "../connect/preflight.ts";
import { createSteps, type StepFlags } from "../connect/steps.ts";
import { type ClusterTools, clusterTools, type ToolFlags } from "../connect/tool.ts";
import { type SeenCluster, waitConnected } from "../connect/wait-connected.ts";
import { checkNetwork } from "../doctor/network.ts";
import type { Report } from "../doctor/report.ts";
import { readTextFile } from "../files/text-file.ts";
import { fetchClusters } from "../relay-api.ts";
import { chooseRelay, type RelayChoice, type RelayFlags } from "../settings/relay-choice.ts";
import { chooseTokens } from "../tokens/choose-tokens.ts";
import { findGivenTokens, type TokenFlags } from "../tokens/token-flags.ts";
import type { CommandContext } from "./context.ts";

export interface ConnectFlags extends RelayFlags, TokenFlags, ToolFlags, StepFlags {
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
  readonly timeout: number;
}

const CODE = z.object({ code: z.string() });
const SEEN: z.ZodType<SeenCluster> = z.object({ status: z.string(), reason: z.string().nullable() });

/**
 * Connects the cluster of the person's kubeconfig to a relay: looks first, then makes a code, installs, and waits until
 * the relay has reached the kube-apiserver through it. Again is safe: what is there stays.
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
  await checkNetwork(relay.url, report, { signal, expectsOwnAuthority: relay.caFile !== undefined }, deps);
  await checkTarget(flags.namespace, report, tools, deps);
  if (report.exitCode() !== 0) return steps.end({ cluster, changed: false });
  const found = await report.check("installation", async () => await look(cluster, relay.url, flags, tools));
  if (found === undefined) return steps.end({ cluster, changed: false });
  const code = found.isEnrolled ? undefined : await obtainCode(cluster, flags, report, context);
  if (report.exitCode() !== 0) return steps.end({ cluster, changed: false });
  const installed = await report.check(flags.dryRun === true ? "dry run" : "install", async () => {
    const said = await install(
      {
        ...{ namespace: flags.namespace, timeoutSeconds: flags.timeout, dryRun: flags.dryRun === true, signal },
        chart: await findChart(flags.chart, deps),
        values: await ownValues(cluster, relay, code, flags),
        valueFiles: flags.values ?? [],
        sets: flags.set ?? [],
      },
      tools,
    );
    return { value: true, detail: said };
  });
  if (installed === undefined || flags.dryRun === true)
    return steps.end({ cluster, changed: installed === true && !flags.dryRun });
  await waitForProbe(cluster, relay.url, flags, report, context);
  return steps.end({ cluster, changed: true });
}

async function look(
  cluster: ClusterId,
  relay: URL,
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

async function obtainCode(
  cluster: ClusterId,
  flags: ConnectFlags,
  report: Report,
  context: CommandContext,
): Promise<string | undefined> {
  return await report.check("code", async () => {
    const given = await readCode(flags);
    if (given !== undefined) return { value: given, detail: "as given" };
    if (flags.dryRun === true) return { value: "dry-run", detail: "would be made at the relay" };
    try {
      const api = await connectAdmin(flags, context);
      const { code } = await api.send("POST", "/v1/admin/codes", CODE, { cluster });
      return { value: code, detail: `made at the relay for ${cluster}` };
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

async function waitForProbe(
  cluster: ClusterId,
  relay: URL,
  flags: ConnectFlags,
  report: Report,
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
