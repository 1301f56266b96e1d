import { cp, mkdir, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ConnectError } from "@cluster-connect/protocol";
import type { Keeper } from "../../process/keeper.ts";
import { definedOnly } from "../../process/program-env.ts";
import type { Progress } from "../../process/progress.ts";
import { runToEnd } from "../../process/run-to-end.ts";
import { KUBERNETES_VERSION } from "./versions.ts";

/** Dependencies of a build. */
export interface BuildDeps {
  readonly go: string;
  readonly env: NodeJS.ProcessEnv;
  /** Ends Go and the compilers it started when this process is killed. */
  readonly keeper: Keeper;
  readonly progress: Progress;
}

/** A program to build. */
export interface BuildStep {
  readonly binary: string;
  readonly module: "etcd" | "kubernetes" | "kind" | "coredns" | "client";
  readonly package: string;
  readonly about: string;
}

/** The programs of a control plane. */
export const CONTROL_PLANE: readonly BuildStep[] = [
  { binary: "etcd", module: "etcd", package: "go.etcd.io/etcd/server/v3", about: "about half a minute" },
  {
    binary: "kube-apiserver",
    module: "kubernetes",
    package: "k8s.io/kubernetes/cmd/kube-apiserver",
    about: "about 4 minutes",
  },
  {
    binary: "kube-controller-manager",
    module: "kubernetes",
    package: "k8s.io/kubernetes/cmd/kube-controller-manager",
    about: "about a minute",
  },
  { binary: "kube-scheduler", module: "kubernetes", package: "k8s.io/kubernetes/cmd/kube-scheduler", about: "seconds" },
];

/** The programs of a node. */
export const NODE: readonly BuildStep[] = [
  { binary: "kubelet", module: "kubernetes", package: "k8s.io/kubernetes/cmd/kubelet", about: "up to 3 minutes" },
  { binary: "kube-proxy", module: "kubernetes", package: "k8s.io/kubernetes/cmd/kube-proxy", about: "seconds" },
];

/** kind, and what a node image for it holds beside the programs above. */
export const KIND: readonly BuildStep[] = [
  { binary: "kind", module: "kind", package: "sigs.k8s.io/kind", about: "about half a minute" },
  { binary: "kubeadm", module: "kubernetes", package: "k8s.io/kubernetes/cmd/kubeadm", about: "about half a minute" },
  { binary: "kubectl", module: "kubernetes", package: "k8s.io/kubernetes/cmd/kubectl", about: "about half a minute" },
  { binary: "coredns", module: "coredns", package: ".", about: "about a minute" },
];

/** A client of client-go that does many things at once; its source is the module's own. */
export const CLIENT: BuildStep = { binary: "client", module: "client", package: ".", about: "up to 2 minutes" };

/** The modules' folder. */
export const MODULES: string = fileURLToPath(new URL("../../../go", import.meta.url));
const LAST_LINES = 5;

function linkerFlags(): string {
  const [major, minor] = KUBERNETES_VERSION.split(".");
  const base = "k8s.io/component-base/version";
  const values = { gitVersion: `v${KUBERNETES_VERSION}`, gitMajor: major, gitMinor: minor, gitTreeState: "clean" };
  return ["-s", "-w", ...Object.entries(values).map(([name, value]) => `-X ${base}.${name}=${value}`)].join(" ");
}

/** Go itself must be able to find its own caches, proxies and toolchain. */
function buildEnv(env: NodeJS.ProcessEnv): Record<string, string> {
  return { ...definedOnly(env), CGO_ENABLED: "0", GOFLAGS: "-mod=mod", GOWORK: "off" };
}

/**
 * Builds programs into `folder` with Go.
 *
 * `go install …@version` is refused, because Kubernetes replaces modules of its own repository. The wrapper modules
 * in `go/` replace them by their published versions, and their go.sum pins every byte that is compiled.
 *
 * @throws ConnectError `CC_KUBERNETES_UNAVAILABLE` with the last lines that Go printed.
 */
export async function buildAssets(
  folder: string,
  steps: readonly BuildStep[],
  options: { readonly signal: AbortSignal },
  deps: BuildDeps,
): Promise<void> {
  const source = join(folder, ".source");
  await mkdir(source, { recursive: true });
  for (const name of new Set(steps.map((step) => step.module))) {
    await cp(join(MODULES, name), join(source, name), { recursive: true });
  }
  for (const [index, step] of steps.entries()) {
    const text = `Kubernetes ${KUBERNETES_VERSION}: building ${step.binary} with Go, takes ${step.about} (${index + 1} of ${steps.length})`;
    await deps.progress.during(text, () => buildStep(step, join(source, step.module), folder, options, deps));
  }
}

async function buildStep(
  step: BuildStep,
  cwd: string,
  folder: string,
  options: { readonly signal: AbortSignal },
  deps: BuildDeps,
): Promise<void> {
  const flags = step.module === "kubernetes" ? linkerFlags() : "-s -w";
  const args = ["build", "-trimpath", "-ldflags", flags, "-o", join(folder, step.binary), step.package];
  const logPath = join(cwd, `${step.binary}.log`);
  const spec = { name: step.binary, command: deps.go, args, cwd, env: buildEnv(deps.env), logPath };
  const go = await deps.keeper.start(spec);
  const onAbort = (): void => go.signal("SIGKILL");
  options.signal.addEventListener("abort", onAbort);
  const end = await go.ended.finally(() => options.signal.removeEventListener("abort", onAbort));
  options.signal.throwIfAborted();
  if (end.code === 0) return;
  const said = (await readFile(logPath, "utf8")).trim().split("\n").slice(-LAST_LINES).join(" | ");
  throw new ConnectError("CC_KUBERNETES_UNAVAILABLE", `go build of ${step.binary} failed: ${said}`);
}

/** Whether this Go is new enough to build, or can fetch a toolchain that is (since 1.21). */
export async function canBuild(go: string, env: NodeJS.ProcessEnv, signal: AbortSignal): Promise<boolean> {
  const result = await runToEnd(go, ["env", "GOVERSION"], {
    env: { ...env, GOTOOLCHAIN: "local" },
    signal,
    cwd: tmpdir(),
  });
  const match = /^go1\.(\d+)/.exec(result.stdout.trim());
  if (result.code !== 0 || match?.[1] === undefined) return false;
  const minor = Number(match[1]);
  const fixed = env["GOTOOLCHAIN"] === "local";
  return minor >= 26 || (minor >= 21 && !fixed);
}
