import { existsSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";
import { ConnectError } from "@cluster-connect/protocol";
import type { CliDeps } from "../deps.ts";

/** Where a kubeconfig goes. */
export type KubeconfigTarget =
  | { readonly kind: "stdout" }
  | { readonly kind: "file"; readonly path: string }
  /** Nowhere: it is written already. */
  | { readonly kind: "none" };

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

/** The same, for what cannot be printed. @throws ConnectError `CC_USAGE` for `-`. */
export function locateKubeconfigFile(flag: string | undefined, deps: Pick<CliDeps, "env" | "homeDir">): string {
  const target = locateKubeconfig(flag, deps);
  if (target.kind === "file") return target.path;
  throw new ConnectError("CC_USAGE", "An entry that stays needs a file", { hint: "Name one with -f FILE." });
}
