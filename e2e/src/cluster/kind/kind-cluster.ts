import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { ConnectError } from "@cluster-connect/protocol";
import { definedOnly } from "../../process/program-env.ts";
import { runToEnd } from "../../process/run-to-end.ts";
import { repositoryFile } from "../../stack/repository-file.ts";
import type { Cluster } from "../cluster.ts";
import { useExisting } from "../existing.ts";
import { findExecutable } from "../find-executable.ts";
import { writeNodeImage } from "../node/image.ts";
import type { Tools } from "../tools.ts";

export interface KindDeps {
  readonly tools: Tools;
  readonly env: NodeJS.ProcessEnv;
  readonly pid: number;
  readonly arch: NodeJS.Architecture;
}

const READY = "180s";
const STOP_TIMEOUT_MS = 60_000;
/** For a node image of `e2e/images/kind-node.sh`; kind's own needs none of it. */
const OWN_IMAGE_CONFIG: string = repositoryFile("e2e/images/kind.yaml");

/**
 * Makes a cluster with kind. `E2E_KIND_IMAGE` names a node image of our own; without it kind pulls the one that it
 * was released with.
 *
 * It is deleted by `stop`; after SIGKILL it stays, by the name `cluster-connect-<pid>`.
 *
 * @throws ConnectError `CC_KUBERNETES_UNAVAILABLE` with kind's last line, `CC_COMMAND_NOT_FOUND` without kind or Docker.
 */
export async function startKindCluster(
  options: { readonly folder: string; readonly signal: AbortSignal },
  deps: KindDeps,
): Promise<Cluster> {
  const { folder, signal } = options;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const name = `cluster-connect-${deps.pid}`;
  const kubeconfig = join(folder, "kind.kubeconfig");
  const run = commandRunner(deps.env);
  const image = deps.env["E2E_KIND_IMAGE"];
  const own = image ? ["--image", image, "--config", OWN_IMAGE_CONFIG] : [];
  const stop = async (): Promise<void> => {
    await run("kind", ["delete", "cluster", "--name", name], AbortSignal.timeout(STOP_TIMEOUT_MS));
  };
  const loadImage = async (archive: string): Promise<void> => {
    await run("kind", ["load", "image-archive", archive, "--name", name], signal);
  };
  try {
    await run(
      "kind",
      ["create", "cluster", "--name", name, "--kubeconfig", kubeconfig, "--wait", READY, ...own],
      signal,
    );
    const env = { ...deps.env, KUBECONFIG: kubeconfig };
    const cluster = await useExisting(`kind-${name}`, options, { tools: deps.tools, env });
    const busybox = join(folder, "image.tar");
    await writeNodeImage(busybox, { signal }, deps);
    await loadImage(busybox);
    const hostAddress = await findHostAddress(run, signal);
    return { ...cluster, hostAddress, loadImage, stop, [Symbol.asyncDispose]: stop };
  } catch (error) {
    await stop().catch(() => {}); // what failed is worth more than what could not be removed after it
    throw error;
  }
}

type Run = (command: string, args: readonly string[], signal: AbortSignal) => Promise<string>;

function commandRunner(given: NodeJS.ProcessEnv): Run {
  const env = definedOnly(given);
  return async (command, args, signal) => {
    const path = await findExecutable(command, given);
    if (path === undefined) {
      throw new ConnectError("CC_COMMAND_NOT_FOUND", `E2E_CLUSTER=kind needs ${command}, which is not on PATH`);
    }
    const done = await runToEnd(path, args, { env, signal });
    if (done.code === 0) return done.stdout;
    const last = done.stderr.trim().split("\n").at(-1) ?? "";
    throw new ConnectError("CC_KUBERNETES_UNAVAILABLE", `${command} ${args[0] ?? ""} failed: ${last}`);
  };
}

/** This machine's address on the network that kind's nodes are in. */
async function findHostAddress(run: Run, signal: AbortSignal): Promise<string> {
  const format = "{{range .IPAM.Config}}{{.Gateway}}\n{{end}}";
  const gateways = (await run("docker", ["network", "inspect", "kind", "--format", format], signal)).split("\n");
  const found = gateways.find((address) => /^\d+\.\d+\.\d+\.\d+$/.test(address.trim()));
  if (found !== undefined) return found.trim();
  throw new ConnectError("CC_KUBERNETES_UNAVAILABLE", "kind's network has no IPv4 address of this machine");
}
