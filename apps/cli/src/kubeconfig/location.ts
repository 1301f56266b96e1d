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

type LocationDeps = Pick<CliDeps, "env" | "homeDir" | "isHomeless">;

/**
 * The kubeconfig that kubectl would change: `-f`, else the first existing file of `KUBECONFIG`, else its last, else
 * `~/.kube/config`.
 *
 * @param flag `-` prints it instead.
 * @throws ConnectError `CC_USAGE` when there is no home folder and nothing else names a file.
 */
export function locateKubeconfig(flag: string | undefined, deps: LocationDeps): KubeconfigTarget {
  if (flag === "-") return { kind: "stdout" };
  if (flag !== undefined) return { kind: "file", path: resolve(flag) };
  const listed = listedKubeconfigs(deps);
  const path = listed.find((candidate) => existsSync(candidate)) ?? listed.at(-1);
  if (path !== undefined) return { kind: "file", path };
  if (deps.isHomeless !== true) return { kind: "file", path: join(deps.homeDir, ".kube", "config") };
  throw new ConnectError("CC_USAGE", "There is no home folder, so kubectl has no kubeconfig of its own", {
    hint: "Set HOME, set KUBECONFIG, or name a file with -f FILE.",
  });
}

/** The files of `KUBECONFIG`, in kubectl's order. */
export function listedKubeconfigs({ env }: Pick<CliDeps, "env">): readonly string[] {
  const named = (env["KUBECONFIG"] ?? "").split(delimiter).filter((path) => path !== "");
  return [...new Set(named.map((path) => resolve(path)))];
}

/** The same, for a kubeconfig that cannot be printed. @throws ConnectError `CC_USAGE` for `-`. */
export function locateKubeconfigFile(flag: string | undefined, deps: LocationDeps): string {
  const target = locateKubeconfig(flag, deps);
  if (target.kind === "file") return target.path;
  throw new ConnectError("CC_USAGE", "An entry that stays needs a file", { hint: "Name one with -f FILE." });
}
