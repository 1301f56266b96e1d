import { ConnectError } from "@cluster-connect/protocol";
import { z } from "zod";
import type { DoctorReport, Finding } from "../doctor/report.ts";
import { parseJson } from "../json.ts";
import { type ClusterTools, lastLine } from "./tool.ts";

/** Permissions that the installation takes, for the objects that it creates. */
const NEEDED: readonly (readonly [verb: string, group: string, resource: string])[] = [
  ["create", "", "secrets"],
  ["create", "", "configmaps"],
  ["create", "", "serviceaccounts"],
  ["create", "apps", "deployments"],
  ["create", "batch", "jobs"],
  ["create", "batch", "cronjobs"],
  ["create", "policy", "poddisruptionbudgets"],
  ["create", "networking.k8s.io", "networkpolicies"],
  ["create", "rbac.authorization.k8s.io", "roles"],
  ["create", "rbac.authorization.k8s.io", "rolebindings"],
  ["create", "rbac.authorization.k8s.io", "clusterroles"],
  ["create", "rbac.authorization.k8s.io", "clusterrolebindings"],
  // The role holds verbs that its creator may lack: then this permits it.
  ["escalate", "rbac.authorization.k8s.io", "clusterroles"],
  ["bind", "rbac.authorization.k8s.io", "clusterroles"],
];
const OLDEST_MINOR = 28;
const MAX_SKEW_MS = 30_000;

const VERSION = z.object({ serverVersion: z.object({ gitVersion: z.string(), minor: z.string() }) });
const REVIEW = z.object({
  spec: z.object({
    resourceAttributes: z.object({ verb: z.string(), resource: z.string(), group: z.string().optional() }),
  }),
  status: z.object({ allowed: z.boolean() }),
});
const CREATED = z.object({ metadata: z.object({ creationTimestamp: z.string() }) });

/**
 * Looks at the cluster before anything is changed in it. It checks that the cluster answers, its version, its clock,
 * and the person's permissions for the installation.
 */
export async function checkTarget(
  namespace: string,
  report: DoctorReport,
  tools: ClusterTools,
  deps: { readonly now: () => number },
): Promise<void> {
  const version = await report.check("helm", async () => {
    const found = await tools.helm(["version", "--short"]);
    return { value: true, detail: found.stdout.trim() };
  });
  const answers = await report.check("cluster", async () => await checkVersion(tools));
  if (version === undefined || answers === undefined) {
    for (const name of ["permissions", "cluster's clock"]) report.skip(name, "see above");
    return;
  }
  await report.check("permissions", async () => await checkPermissions(namespace, tools));
  await report.check("cluster's clock", async () => await checkClock(tools, deps));
}

async function checkVersion(tools: ClusterTools): Promise<Finding<string>> {
  const asked = await tools.kubectl(["version", "--output", "json", "--request-timeout=10s"]);
  const parsed = VERSION.safeParse(parseJson(asked.stdout));
  if (!parsed.success) {
    throw new ConnectError("CC_APISERVER_UNREACHABLE", `kubectl does not reach the cluster: ${lastLine(asked)}`, {
      hint: "Choose the context with --kube-context; `kubectl get nodes` has to work.",
    });
  }
  const { gitVersion, minor } = parsed.data.serverVersion;
  if (Number.parseInt(minor, 10) < OLDEST_MINOR) {
    throw new ConnectError("CC_INSTALL_FAILED", `Kubernetes ${gitVersion} is older than 1.${OLDEST_MINOR}`);
  }
  return { value: gitVersion, detail: `Kubernetes ${gitVersion} answers` };
}

/** Asks about everything in one call, so that everything that is missing is said at once. */
async function checkPermissions(namespace: string, tools: ClusterTools): Promise<Finding<boolean>> {
  const attributes = [
    { verb: "create", group: "", resource: "namespaces" },
    ...NEEDED.map(([verb, group, resource]) => ({ verb, group, resource, namespace })),
  ];
  const items = attributes.map((resourceAttributes) => ({
    apiVersion: "authorization.k8s.io/v1",
    kind: "SelfSubjectAccessReview",
    spec: { resourceAttributes },
  }));
  const list = JSON.stringify({ apiVersion: "v1", kind: "List", items });
  const asked = await tools.kubectl(["create", "--filename", "-", "--output", "json", "--validate=false"], list);
  const answers = parseStream(asked.stdout).map((value) => REVIEW.safeParse(value).data);
  if (asked.code !== 0 || answers.length !== items.length || answers.includes(undefined)) {
    throw new ConnectError("CC_PERMISSION_MISSING", `The cluster does not say what you may do: ${lastLine(asked)}`);
  }
  const refused = answers.flatMap((answer) => {
    if (answer === undefined || answer.status.allowed) return [];
    const { verb, resource } = answer.spec.resourceAttributes;
    return [`${verb} ${resource}`];
  });
  if (refused.length === 0) return { value: true, detail: `all ${items.length} that installing takes` };
  throw new ConnectError("CC_PERMISSION_MISSING", `You may not ${refused.join(", ")} in ${namespace}`);
}

async function checkClock(tools: ClusterTools, deps: { readonly now: () => number }): Promise<Finding<number>> {
  const probe = ["create", "configmap", "clock", "--dry-run=server", "--namespace", "default", "--output", "json"];
  const asked = await tools.kubectl(probe);
  const parsed = CREATED.safeParse(parseJson(asked.stdout));
  if (!parsed.success) return { value: 0, detail: `not known: ${lastLine(asked)}` };
  // The cluster tells whole seconds.
  const skewMs = Date.parse(parsed.data.metadata.creationTimestamp) + 500 - deps.now();
  const seconds = Math.round(Math.abs(skewMs) / 1_000);
  const detail =
    seconds <= 2 ? "as this machine's" : `${seconds} s ${skewMs > 0 ? "ahead of" : "behind"} this machine's`;
  if (Math.abs(skewMs) <= MAX_SKEW_MS) return { value: skewMs, detail };
  return { value: skewMs, detail, warning: "Set the clocks: tokens seem expired there, or not valid yet." };
}

/** kubectl prints one JSON document after another, or a List. */
function parseStream(text: string): readonly unknown[] {
  const whole = parseJson(text);
  if (typeof whole === "object" && whole !== null && "items" in whole && Array.isArray(whole.items)) return whole.items;
  if (whole !== undefined) return [whole];
  return text
    .split(/^(?=\{)/m)
    .map(parseJson)
    .filter((value) => value !== undefined);
}
