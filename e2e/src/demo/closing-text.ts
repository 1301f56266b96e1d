import { delimiter } from "node:path";
import type { Tools } from "../cluster/tools.ts";
import { NAME_PREFIX } from "../stack/authentication.ts";
import type { LocalProxy } from "../stack/cli.ts";

/** What a person may type now. */
export function closingText(user: string, proxy: LocalProxy, tools: Tools, env: NodeJS.ProcessEnv): string {
  const added = tools.path.split(delimiter).filter((folder) => !(env["PATH"] ?? "").split(delimiter).includes(folder));
  const path = added.length === 0 ? [] : [`  export PATH="$PATH${delimiter}${added.join(delimiter)}"`];
  const other = user === "admin" ? "viewer" : "admin";
  const change = "kubectl create namespace x";
  return [
    "",
    `Ready: you are ${NAME_PREFIX}${user}. In another terminal:`,
    ...path,
    `  export KUBECONFIG=${proxy.kubeconfigPath}`,
    "  kubectl auth whoami",
    "  kubectl get namespaces",
    user === "admin" ? `  ${change}` : `  ${change.padEnd(32)}# Forbidden, you may look only`,
    `  curl -k https://127.0.0.1:${proxy.port}/version        # 401: the way is open, but who are you?`,
    "",
    `As somebody else: npx -y pnpm@12 demo --user ${other}`,
    "Ctrl-C stops and removes everything.",
    "",
  ].join("\n");
}
