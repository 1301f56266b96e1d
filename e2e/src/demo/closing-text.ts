import { delimiter } from "node:path";
import type { Tools } from "../cluster/binaries/tools.ts";
import { NAME_PREFIX } from "../stack/authentication.ts";
import type { LocalProxy } from "../stack/cli.ts";

/** The user of a demonstration, and the pod to look at. */
export interface Demonstration {
  readonly user: string;
  /** The pod to exec into; undefined without a node. */
  readonly pod: string | undefined;
}

/** The commands that a person may type now. */
export function closingText(
  { user, pod }: Demonstration,
  proxy: LocalProxy,
  tools: Tools,
  env: NodeJS.ProcessEnv,
): string {
  const added = tools.path.split(delimiter).filter((folder) => !(env["PATH"] ?? "").split(delimiter).includes(folder));
  const path = added.length === 0 ? [] : [`  export PATH="$PATH${delimiter}${added.join(delimiter)}"`];
  const other = user === "admin" ? "viewer" : "admin";
  const allowed = (command: string): string =>
    user === "admin" ? `  ${command}` : `  ${command.padEnd(32)}# Forbidden, you may look only`;
  const inPod = pod === undefined ? [] : ["  kubectl get pods", allowed(`kubectl exec -it ${pod} -- sh`)];
  const again = pod === undefined ? "" : "--node ";
  return [
    "",
    `Ready: you are ${NAME_PREFIX}${user}. In another terminal:`,
    ...path,
    `  export KUBECONFIG=${proxy.kubeconfigPath}`,
    "  kubectl auth whoami",
    "  kubectl get namespaces",
    allowed("kubectl create namespace x"),
    ...inPod,
    `  curl -k https://127.0.0.1:${proxy.port}/version        # 401: the way is open, but who are you?`,
    "",
    `As somebody else: npx -y pnpm@12 demo ${again}--user ${other}`,
    "Ctrl-C stops and removes everything.",
    "",
  ].join("\n");
}
