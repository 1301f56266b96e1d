import { readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { type ChartStack, NAMESPACE, RELEASE } from "./chart-stack.ts";

/** Flags that name the release's agents. */
export const AGENTS: readonly string[] = [
  "-l",
  `app.kubernetes.io/instance=${RELEASE},app.kubernetes.io/component=agent`,
];

/** A line of JSON that one of the agents' containers logged. */
export type PodEvent = Readonly<Record<string, unknown>>;

/** The log of both replicas so far, of one container. */
export async function podEvents({ kubectl }: ChartStack, container: string): Promise<readonly PodEvent[]> {
  const text = await kubectl(["-n", NAMESPACE, "logs", ...AGENTS, "-c", container, "--tail=-1"]);
  return text
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line));
}

/** How often each container was started again: a 0 for each, where all is well. */
export const restarts = ({ kubectl }: ChartStack): Promise<string> =>
  kubectl([
    ...["-n", NAMESPACE, "get", "pods", ...AGENTS],
    ...["-o", "jsonpath={.items[*].status.containerStatuses[*].restartCount}"],
  ]);

/** Folder of the control plane's files, where it is of our own. */
export const credentialsFolder = ({ cluster }: ChartStack): string => dirname(cluster.kubeconfigPath);

/** Ids of the tokens of our account that requests for callers came with, as far as there is an audit log to read. */
export async function usedTokens({ cluster }: ChartStack): Promise<ReadonlySet<string>> {
  const log = cluster.auditLogPath === undefined ? "" : await readFile(cluster.auditLogPath, "utf8");
  const ours = log.split("\n").filter((line) => line.includes(`"system:serviceaccount:${NAMESPACE}:${RELEASE}"`));
  const ids = ours.map((line) => /"authentication\.kubernetes\.io\/credential-id":\["([^"]+)"\]/.exec(line)?.[1]);
  return new Set(ids.filter((id) => id !== undefined));
}
