import { AGENT_KEY, DONE } from "@cluster-connect/api";
import { ConnectError, toConnectError } from "@cluster-connect/protocol";
import { findInstallation, RELEASE } from "../../connect/installation.ts";
import { createSteps, type StepFlags } from "../../connect/steps.ts";
import { clusterTools, lastLine, type ToolFlags } from "../../connect/tool.ts";
import type { RelayFlags } from "../../relay/choice.ts";
import type { TokenFlags } from "../../tokens/given/token-flags.ts";
import { connectAdmin } from "../admin/api.ts";
import type { CommandContext } from "../context.ts";

export interface DisconnectFlags extends RelayFlags, TokenFlags, ToolFlags, StepFlags {
  readonly namespace: string;
  /** Leaves the relay as it is. */
  readonly keepAtRelay?: boolean;
  readonly timeout: number;
}

/** Takes everything out of the cluster again and makes its keys worthless at the relay. @returns the exit code. */
export async function disconnect(flags: DisconnectFlags, context: CommandContext): Promise<number> {
  const { deps, signal } = context;
  const tools = clusterTools(flags, { signal }, deps);
  const steps = createSteps(flags, { signal }, deps);
  const { namespace } = flags;
  const found = await steps.report.check("installation", async () => {
    const value = await findInstallation(namespace, tools);
    const detail = value.revision === undefined ? `nothing is installed in ${namespace}` : `revision ${value.revision}`;
    return { value, detail };
  });
  if (found === undefined) return steps.end({ changed: false });
  if (found.revision !== undefined) {
    await steps.report.check("uninstall", async () => {
      const timeout = `${flags.timeout}s`;
      const done = await tools.helm(["uninstall", RELEASE, "--namespace", namespace, "--wait", "--timeout", timeout]);
      if (done.code !== 0) throw new ConnectError("CC_INSTALL_FAILED", `helm: ${lastLine(done)}`);
      // Helm forgets them as soon as their owner is gone; they still hold tunnels then.
      const pods = ["pods", "--namespace", namespace, "--selector", `app.kubernetes.io/instance=${RELEASE}`];
      await tools.kubectl(["wait", "--for=delete", ...pods, "--timeout", timeout]);
      return { value: true, detail: lastLine(done) };
    });
  }
  const { cluster } = found;
  if (cluster === undefined || flags.keepAtRelay === true) steps.report.skip("keys at the relay", "left as they are");
  else await steps.report.check("keys at the relay", async () => await revokeKeys(cluster, flags, context));
  return steps.end({ cluster: cluster ?? null, changed: found.revision !== undefined });
}

async function revokeKeys(
  cluster: string,
  flags: DisconnectFlags,
  context: CommandContext,
): Promise<{ readonly value: number; readonly detail: string; readonly warning?: string }> {
  try {
    const api = await connectAdmin(flags, context);
    const keys = (await api.list("/v1/admin/keys", AGENT_KEY)).filter(
      (key) => key.cluster === cluster && key.revokedAt === null,
    );
    for (const { id } of keys) await api.send("DELETE", `/v1/admin/keys/${encodeURIComponent(id)}`, DONE);
    return { value: keys.length, detail: `${keys.length} revoked` };
  } catch (error) {
    const { message } = toConnectError(error);
    const warning = `They are of no use without the cluster; an administrator of the relay may revoke them.`;
    return { value: 0, detail: `not revoked: ${message}`, warning };
  }
}
