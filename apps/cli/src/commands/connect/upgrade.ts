import { ConnectError } from "@cluster-connect/protocol";
import { findChart } from "../../connect/chart.ts";
import { install } from "../../connect/install.ts";
import { findInstallation } from "../../connect/installation.ts";
import { createSteps, type StepFlags } from "../../connect/steps.ts";
import { clusterTools, type ToolFlags } from "../../connect/tool.ts";
import type { CommandContext } from "../context.ts";

export interface UpgradeFlags extends ToolFlags, StepFlags {
  readonly namespace: string;
  readonly chart?: string;
  readonly values?: readonly string[];
  readonly set?: readonly string[];
  readonly dryRun?: boolean;
  readonly timeout: number;
}

/** Brings an installation to the chart of this program, its values as they are. @returns the exit code. */
export async function upgrade(flags: UpgradeFlags, { deps, signal }: CommandContext): Promise<number> {
  const tools = clusterTools(flags, { signal }, deps);
  const steps = createSteps(flags, { signal }, deps);
  const { namespace } = flags;
  const found = await steps.report.check("installation", async () => {
    const value = await findInstallation(namespace, tools);
    if (value.revision !== undefined) return { value, detail: `revision ${value.revision}, ${value.cluster ?? "?"}` };
    throw new ConnectError("CC_INSTALL_FAILED", `Nothing is installed in ${namespace}`, {
      hint: "Run `cluster-connect connect -n NAME` first, or name the namespace with --namespace.",
    });
  });
  if (found === undefined) return steps.end({ changed: false });
  const dryRun = flags.dryRun === true;
  await steps.report.check(dryRun ? "dry run" : "upgrade", async () => {
    const said = await install(
      {
        namespace,
        timeoutSeconds: flags.timeout,
        dryRun,
        signal,
        values: {},
        chart: await findChart(flags.chart, deps),
        valueFiles: flags.values ?? [],
        sets: flags.set ?? [],
      },
      tools,
    );
    return { value: true, detail: said };
  });
  return steps.end({ cluster: found.cluster ?? null, changed: !dryRun && steps.report.exitCode() === 0 });
}
