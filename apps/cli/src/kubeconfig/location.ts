import { existsSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";
import type { CliDeps } from "../deps.ts";

/** Where a kubeconfig goes. */
export type KubeconfigTarget = { readonly kind: "stdout" } | { readonly kind: "file"; readonly path: string };

/**
 * The kubeconfig that kubectl would change: `-f`, else the first existing file of `KUBECONFIG`, else its last, else
 * `~/.kube/config`.
 *
 * @param flag `-` prints it instead.
 */
export function locateKubeconfig(flag: string | undefined, deps: Pick<CliDeps, "env" | "homeDir">): KubeconfigTarget {
  if (flag === "-") return { kind: "stdout" };
  if (flag !== undefined) return { kind: "file", path: resolve(flag) };
  const listed = (deps.env["KUBECONFIG"] ?? "").split(delimiter).filter((path) => path !== "");
  const path = listed.find((candidate) => existsSync(candidate)) ?? listed.at(-1);
  return { kind: "file", path: path === undefined ? join(deps.homeDir, ".kube", "config") : resolve(path) };
}
