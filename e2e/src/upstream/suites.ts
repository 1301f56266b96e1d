import { createHash } from "node:crypto";
import { access, copyFile, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { ConnectError } from "@cluster-connect/protocol";
import { z } from "zod";
import { cacheRoot, fillOnce } from "../cluster/binaries/cache-folder.ts";
import { findExecutable } from "../cluster/binaries/find-executable.ts";
import { findGoClient, goClientDeps } from "../cluster/binaries/go-client.ts";
import type { Tools } from "../cluster/binaries/tools.ts";
import type { Keeper } from "../process/keeper.ts";
import type { Progress } from "../process/progress.ts";
import { type RunResult, runToEnd } from "../process/run-to-end.ts";
import type { Outcomes, UpstreamSuite } from "./compare.ts";

export interface SuiteDeps {
  readonly tools: Tools;
  readonly keeper: Keeper;
  readonly progress: Progress;
  readonly env: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
}

const UPSTREAM = fileURLToPath(new URL("../../upstream/", import.meta.url));
const KUBERNETES = fileURLToPath(new URL("../../go/kubernetes", import.meta.url));
const LAST_CHARACTERS = 600;
const HASH_LENGTH = 12;

/** Groups of Kubernetes' test/cmd that need no node and no right of their own, and take seconds. */
export const SHORT_GROUPS: readonly string[] = ["role", "kubectl_create_filter", "kubectl_diff"];
/** More that need no node. */
export const ALL_GROUPS: readonly string[] = [
  ...SHORT_GROUPS,
  "clusterroles",
  "configmap",
  "create_secret",
  "kubectl_apply",
  "kubectl_server_side_apply",
  "kubectl_create_dry_run",
  "kubectl_create_error",
  "kubectl_create_validate",
  "kubectl_events",
  "kubectl_explain",
  "kubectl_get",
  "kubectl_request_timeout",
  "kubectl_response_compression",
  "kubectl_sort_by",
  "lists",
  "persistent_volume_claims",
  "pod_templates",
  "service",
  "storage_class",
  "template_output",
  "wait",
];

/** The clients that Kubernetes' authors and users have, and groups of their tests of kubectl. */
export function upstreamSuites(groups: readonly string[], deps: SuiteDeps): readonly UpstreamSuite[] {
  const clients = [goSuite(deps), pythonSuite(deps), javascriptSuite(deps)];
  return groups.length === 0 ? clients : [...clients, testCmdSuite(groups, deps)];
}

function goSuite(deps: SuiteDeps): UpstreamSuite {
  return {
    name: "client-go",
    async prepare() {
      if ((await findExecutable("go", deps.env)) === undefined) return { leftOut: "Go is not installed" };
      const program = await findGoClient(deps, goClientDeps(deps, deps));
      return (kubeconfig) => outcomesOf(program, ["-scene", "api"], { kubeconfig }, deps);
    },
  };
}

function pythonSuite(deps: SuiteDeps): UpstreamSuite {
  return {
    name: "Python",
    async prepare() {
      const python = await findExecutable("python3", deps.env);
      if (python === undefined) return { leftOut: "Python is not installed" };
      const requirements = join(UPSTREAM, "python/requirements.txt");
      const packages = await packagesFor("python", requirements, deps, (folder) => {
        const args = ["-m", "pip", "install", "--quiet", "--target", folder, "-r", requirements];
        return runToEnd(python, args, deps);
      });
      if (typeof packages !== "string") return packages;
      const more = { PYTHONPATH: packages };
      return (kubeconfig) => outcomesOf(python, [join(UPSTREAM, "python/client.py")], { kubeconfig, more }, deps);
    },
  };
}

function javascriptSuite(deps: SuiteDeps): UpstreamSuite {
  return {
    name: "JavaScript",
    async prepare() {
      const npm = await findExecutable("npm", deps.env);
      if (npm === undefined) return { leftOut: "npm is not installed" };
      const source = join(UPSTREAM, "javascript");
      const packages = await packagesFor("javascript", join(source, "package-lock.json"), deps, async (folder) => {
        for (const name of ["package.json", "package-lock.json"])
          await copyFile(join(source, name), join(folder, name));
        return runToEnd(npm, ["ci", "--no-audit", "--no-fund", "--ignore-scripts"], { ...deps, cwd: folder });
      });
      if (typeof packages !== "string") return packages;
      return async (kubeconfig) => {
        // It finds its packages beside itself.
        const program = join(packages, "client.mjs");
        await copyFile(join(source, "client.mjs"), program);
        return outcomesOf(process.execPath, [program], { kubeconfig }, deps);
      };
    },
  };
}

/** Kubernetes' own tests of kubectl, shell functions by groups; its module has them. */
function testCmdSuite(groups: readonly string[], deps: SuiteDeps): UpstreamSuite {
  return {
    name: "test/cmd",
    async prepare() {
      const go = await findExecutable("go", deps.env);
      if (go === undefined) return { leftOut: "Go is not installed" };
      const options = { ...deps, cwd: KUBERNETES, env: { ...deps.env, GOFLAGS: "-mod=mod", GOWORK: "off" } };
      const found = await runToEnd(go, ["mod", "download", "-json", "k8s.io/kubernetes"], options);
      if (found.code !== 0) return { leftOut: `the module k8s.io/kubernetes is not to be had: ${endOf(found.stderr)}` };
      const { Dir: folder } = MODULE.parse(JSON.parse(found.stdout));
      return async (kubeconfig) => {
        const work = await mkdtemp(join(tmpdir(), "cc-test-cmd-"));
        deps.keeper.ownFolder(work);
        const args = [join(UPSTREAM, "test-cmd.sh"), folder, work, ...groups];
        const outcomes = await outcomesOf("bash", args, { kubeconfig }, deps);
        for (const [group, outcome] of outcomes) {
          if (outcome === "failed") deps.progress.line(`test/cmd ${group}: ${endOf(await readLog(work, group))}`);
        }
        await rm(work, { recursive: true, force: true });
        return outcomes;
      };
    },
  };
}

const MODULE = z.object({ Dir: z.string() });

function readLog(work: string, group: string): Promise<string> {
  return readFile(join(work, `${group}.log`), "utf8").catch(() => "");
}

function endOf(text: string): string {
  return text.trim().slice(-LAST_CHARACTERS);
}

/**
 * Gets the packages of a client once on this machine, for each state of the file that pins them.
 *
 * @returns the folder, or why it cannot be had: a machine without the registry leaves the client out.
 */
async function packagesFor(
  name: string,
  pins: string,
  deps: SuiteDeps,
  fill: (folder: string) => Promise<RunResult>,
): Promise<string | { readonly leftOut: string }> {
  const parent = join(cacheRoot(deps.env), "upstream");
  const folder = `${name}-${createHash("sha256")
    .update(await readFile(pins))
    .digest("hex")
    .slice(0, HASH_LENGTH)}`;
  const isComplete = async (): Promise<boolean> =>
    await access(join(parent, folder)).then(
      () => true,
      () => false,
    );
  try {
    return await fillOnce(parent, folder, deps, {
      isComplete,
      async fill(temporary) {
        const { code, stderr } = await fill(temporary);
        if (code !== 0) throw new ConnectError("CC_INTERNAL", endOf(stderr));
      },
    });
  } catch (error) {
    if (!(error instanceof ConnectError)) throw error;
    return { leftOut: `its packages cannot be installed: ${error.message}` };
  }
}

interface Surroundings {
  readonly kubeconfig: string;
  readonly more?: Readonly<Record<string, string>>;
}

/** Runs a program that prints a line for each test, its name and what came of it; its code is one more outcome. */
async function outcomesOf(
  command: string,
  args: readonly string[],
  { kubeconfig, more }: Surroundings,
  { env, tools, signal, progress }: SuiteDeps,
): Promise<Outcomes> {
  const own = { ...env, ...more, KUBECONFIG: kubeconfig, PATH: `${dirname(tools.kubectl)}${delimiter}${env["PATH"]}` };
  const { code, stdout, stderr } = await runToEnd(command, args, { env: own, signal });
  if (code !== 0) progress.line(`${command} ended with ${code}: ${endOf(stderr)}`);
  const lines = stdout.split("\n").filter((line) => line !== "");
  const outcomes = lines.map((line): readonly [string, string] => {
    const [name = ""] = line.split(" ");
    return [name, line.slice(name.length + 1)];
  });
  return new Map([...outcomes, ["exit code", String(code)]]);
}
