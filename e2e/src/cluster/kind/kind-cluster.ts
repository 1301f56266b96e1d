import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ConnectError } from "@cluster-connect/protocol";
import { definedOnly } from "../../process/program-env.ts";
import type { Progress } from "../../process/progress.ts";
import { runToEnd } from "../../process/run-to-end.ts";
import { adminKubectl } from "../../stack/kubectl.ts";
import { findExecutable } from "../binaries/find-executable.ts";
import type { Tools } from "../binaries/tools.ts";
import type { Cluster } from "../cluster.ts";
import { followAuditLog } from "../control-plane/audit-log.ts";
import { AUDIT_POLICY } from "../control-plane/components.ts";
import { useExisting } from "../existing.ts";
import { writeNodeImage } from "../node/image.ts";
import { checkPods } from "./check-pods.ts";
import { AUDIT_FILES, kindConfig } from "./kind-config.ts";
import { removeLeftovers } from "./leftovers.ts";
import { outsideOfKind, type Run } from "./outside.ts";
import { clusterName, ownerHere } from "./owner.ts";

export interface KindDeps {
  readonly tools: Tools;
  readonly env: NodeJS.ProcessEnv;
  readonly progress: Progress;
  readonly pid: number;
  readonly hostname: string;
  readonly arch: NodeJS.Architecture;
}

const READY = "180s";
/** kubeadm says why it gave up over several lines. */
const LAST_LINES = 40;
const STOP_TIMEOUT_MS = 60_000;

/**
 * Makes a cluster with kind. `E2E_KIND_IMAGE` names a node image of our own; without it kind pulls the one that it
 * was released with. Docker must run on this machine: the node has a folder of it, for the audit log.
 *
 * It is deleted by `stop`. After SIGKILL it stays until the next cluster is made: its name tells its owner.
 *
 * @throws ConnectError `CC_KUBERNETES_UNAVAILABLE` with kind's last line, or with what pods cannot do in it;
 *   `CC_COMMAND_NOT_FOUND` without kind or Docker.
 */
export async function startKindCluster(
  options: { readonly folder: string; readonly signal: AbortSignal },
  deps: KindDeps,
): Promise<Cluster> {
  const { folder, signal } = options;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const owner = await ownerHere(deps);
  const name = clusterName(owner);
  const kubeconfig = join(folder, "kind.kubeconfig");
  const run = commandRunner(deps.env);
  const image = deps.env["E2E_KIND_IMAGE"];
  const remove = async (one: string): Promise<void> => {
    await run("kind", ["delete", "cluster", "--name", one], AbortSignal.timeout(STOP_TIMEOUT_MS));
  };
  const stop = (): Promise<void> => remove(name);
  const loadImage = async (archive: string): Promise<void> => {
    await run("kind", ["load", "image-archive", archive, "--name", name], signal);
  };
  const clusters = async (): Promise<readonly string[]> => (await run("kind", ["get", "clusters"], signal)).split("\n");
  await removeLeftovers(owner, { clusters, remove }, deps);
  const config = join(folder, "kind.yaml");
  const auditFolder = await makeAuditFolder(folder);
  await writeFile(config, kindConfig({ auditFolder, ownImage: Boolean(image) }));
  const create = ["--config", config, "--kubeconfig", kubeconfig, "--wait", READY];
  try {
    await run("kind", ["create", "cluster", "--name", name, ...create, ...(image ? ["--image", image] : [])], signal);
    const env = { ...deps.env, KUBECONFIG: kubeconfig };
    const cluster = await useExisting(`kind-${name}`, options, { tools: deps.tools, env });
    const busybox = join(folder, "image.tar");
    await writeNodeImage(busybox, { signal }, deps);
    await loadImage(busybox);
    const cache = join(folder, "kube-cache");
    await checkPods(adminKubectl(cluster, { folder: cache, signal: () => signal }, deps), { signal });
    const hostAddress = await findHostAddress(run, signal);
    const auditLogPath = join(auditFolder, AUDIT_FILES.log);
    return {
      ...cluster,
      hostAddress,
      loadImage,
      stop,
      [Symbol.asyncDispose]: stop,
      outside: outsideOfKind(`${name}-control-plane`, { signal }, { run }),
      features: { controllers: true, pods: true, auditLog: true },
      auditEvents: (follow) => followAuditLog(auditLogPath, follow),
      auditLogPath,
    };
  } catch (error) {
    await stop().catch(() => {}); // what failed is worth more than what could not be removed after it
    throw error;
  }
}

/** The log is there before the apiserver, which would make one that its own account alone can read. */
async function makeAuditFolder(folder: string): Promise<string> {
  const auditFolder = join(folder, "audit");
  await mkdir(auditFolder, { mode: 0o700 });
  await writeFile(join(auditFolder, AUDIT_FILES.policy), AUDIT_POLICY);
  await writeFile(join(auditFolder, AUDIT_FILES.log), "");
  return auditFolder;
}

function commandRunner(given: NodeJS.ProcessEnv): Run {
  const env = definedOnly(given);
  return async (command, args, signal) => {
    const path = await findExecutable(command, given);
    if (path === undefined) {
      throw new ConnectError("CC_COMMAND_NOT_FOUND", `E2E_CLUSTER=kind needs ${command}, which is not on PATH`);
    }
    const done = await runToEnd(path, args, { env, signal });
    if (done.code === 0) return done.stdout;
    throw new ConnectError(
      "CC_KUBERNETES_UNAVAILABLE",
      `${command} ${args[0] ?? ""} failed: ${saidAtTheEnd(done.stderr)}`,
    );
  };
}

/** The end of what a program said, without the stack that kind adds of its own calls. */
function saidAtTheEnd(stderr: string): string {
  const [said = ""] = stderr.split("\nStack Trace:");
  return said.trim().split("\n").slice(-LAST_LINES).join("\n");
}

/** This machine's address on the network that kind's nodes are in. */
async function findHostAddress(run: Run, signal: AbortSignal): Promise<string> {
  const format = "{{range .IPAM.Config}}{{.Gateway}}\n{{end}}";
  const gateways = (await run("docker", ["network", "inspect", "kind", "--format", format], signal)).split("\n");
  const found = gateways.find((address) => /^\d+\.\d+\.\d+\.\d+$/.test(address.trim()));
  if (found !== undefined) return found.trim();
  throw new ConnectError("CC_KUBERNETES_UNAVAILABLE", "kind's network has no IPv4 address of this machine");
}
