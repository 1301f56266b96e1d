import type { Tools } from "../../src/cluster/binaries/tools.ts";
import { provideWithPods } from "../../src/cluster/provide-with-pods.ts";
import type { Keeper } from "../../src/process/keeper.ts";
import type { Progress } from "../../src/process/progress.ts";
import type { StackOptions } from "../../src/stack/stack.ts";

const PROVIDER: string = process.env["E2E_CLUSTER"] || "local";

/** Why tests of the local provider itself are left out, where the suites run on another one. */
export const notLocal: string | undefined =
  PROVIDER === "local" ? undefined : `it is about the local provider, and E2E_CLUSTER is ${PROVIDER}`;

/** Why tests of kind's provider are left out. */
export const notKind: string | undefined = PROVIDER === "kind" ? undefined : "it needs E2E_CLUSTER=kind";

/** How the Kubernetes starts that `E2E_CLUSTER` names; nothing for `local`, where a control plane is enough. */
export function startOtherCluster(given: {
  readonly keeper: Keeper;
  readonly tools: Tools;
  readonly progress: Progress;
}): Pick<StackOptions, "startCluster"> {
  if (notLocal === undefined) return {};
  const { env, platform, arch } = process;
  const host = { platform, arch, uid: process.getuid?.() };
  return { startCluster: (own) => provideWithPods(own, { ...given, env, host, now: () => new Date() }) };
}
