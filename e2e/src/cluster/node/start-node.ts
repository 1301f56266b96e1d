import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ConnectError } from "@cluster-connect/protocol";
import type { Program } from "../../process/keeper.ts";
import { pollUntil } from "../../process/poll.ts";
import { FILES, type NodeAddresses } from "../control-plane/components.ts";
import type { Cgroups } from "./cgroups.ts";
import {
  CONTAINERD_SOCKET,
  cniConfiguration,
  containerdConfiguration,
  kubeletConfiguration,
  kubeProxyConfiguration,
  NODE_FILES,
  type NodeConfiguration,
} from "./configuration.ts";
import { writeNodeImage } from "./image.ts";
import type { Link } from "./link.ts";
import type { Namespaces } from "./namespaces.ts";
import type { NodeAssets } from "./node-assets.ts";

/** How to start a node. */
export interface NodeOptions {
  /** An existing folder for configuration, logs, images and pods. */
  readonly folder: string;
  /** The folder of the control plane that the node joins. */
  readonly credentials: string;
  readonly addresses: NodeAddresses;
  readonly signal: AbortSignal;
}

/** Dependencies of a node. */
export interface NodeDeps {
  readonly assets: NodeAssets;
  readonly namespaces: Namespaces;
  readonly link: Link;
  readonly cgroups: Cgroups;
  readonly arch: NodeJS.Architecture;
  /** As the cluster's administrator. */
  readonly kubectl: (args: readonly string[]) => Promise<string>;
}

const READY_SECONDS = 60;

async function writeConfiguration(configuration: NodeConfiguration): Promise<void> {
  const file = (name: string): string => join(configuration.folder, name);
  await mkdir(file(NODE_FILES.cni));
  await writeFile(file(NODE_FILES.containerd), containerdConfiguration(configuration));
  await writeFile(join(file(NODE_FILES.cni), "pods.conflist"), cniConfiguration(configuration));
  await writeFile(file(NODE_FILES.kubelet), kubeletConfiguration(configuration));
  await writeFile(file(NODE_FILES.kubeProxy), kubeProxyConfiguration(configuration));
  await copyFile("/etc/resolv.conf", file(NODE_FILES.resolver)).catch(() => writeFile(file(NODE_FILES.resolver), ""));
}

/** Rejects as soon as one of the programs ends, with the last line it wrote. */
async function failWhenOneEnds(programs: readonly Program[]): Promise<never> {
  const ended = await Promise.race(programs.map((program) => program.ended.then(() => program)));
  const last = (await readFile(ended.logPath, "utf8")).trim().split("\n").at(-1) ?? "";
  throw new ConnectError("CC_KUBERNETES_UNAVAILABLE", `${ended.name} ended while the node started: ${last}`);
}

const ctr = (namespaces: Namespaces, ...args: readonly string[]): Promise<string> =>
  namespaces.run("ctr", ["--address", CONTAINERD_SOCKET, "--namespace", "k8s.io", ...args]);

/** Gives the node's pods an image, from an archive of `docker save`. */
export async function importImage(archive: string, namespaces: Namespaces): Promise<void> {
  await ctr(namespaces, "images", "import", archive);
}

async function importNodeImage(options: NodeOptions, { namespaces, arch }: NodeDeps): Promise<void> {
  const path = join(options.folder, NODE_FILES.image);
  const { signal } = options;
  await writeNodeImage(path, { signal }, { arch });
  await pollUntil(async () => ctr(namespaces, "version").catch(() => undefined), { signal });
  await importImage(path, namespaces);
}

/** By the program's name. */
export type Restarts = ReadonlyMap<string, () => Promise<void>>;

/**
 * Starts containerd, kubelet and kube-proxy in their namespaces and resolves when the node is ready for pods.
 *
 * @returns how each is started again; pods run on meanwhile.
 * @throws ConnectError `CC_KUBERNETES_UNAVAILABLE` naming the program that ended, or what did not become ready.
 */
export async function startNode(options: NodeOptions, deps: NodeDeps): Promise<Restarts> {
  const { folder, credentials, addresses } = options;
  const { assets, namespaces, link, cgroups, kubectl } = deps;
  const nodeName = addresses.name;
  await writeConfiguration({ folder, credentials, nodeName, link, cgroup: cgroups.name });
  const file = (name: string): string => join(folder, name);
  const restarts = new Map<string, () => Promise<void>>();
  const start = async (name: string, command: string, args: readonly string[]): Promise<Program> => {
    const first = await namespaces.start({ name, command, args });
    let program = first;
    restarts.set(name, async () => {
      await program.stop();
      program = await namespaces.start({ name, command, args });
    });
    return first;
  };
  const containerd = await start("containerd", "containerd", ["--config", file(NODE_FILES.containerd)]);
  await Promise.race([importNodeImage(options, deps), failWhenOneEnds([containerd])]);
  const kubelet = await start("kubelet", assets.kubelet, [
    ...["--config", file(NODE_FILES.kubelet), "--kubeconfig", join(credentials, FILES.kubeletKubeconfig)],
    ...["--root-dir", file("kubelet"), "--hostname-override", nodeName, "--node-ip", addresses.kubelet],
  ]);
  const kubeProxy = await start("kube-proxy", assets.kubeProxy, ["--config", file(NODE_FILES.kubeProxy)]);
  const ready = async (): Promise<void> => {
    await kubectl(["wait", "--for=create", `node/${nodeName}`, `--timeout=${READY_SECONDS}s`]);
    await kubectl(["wait", "--for=condition=Ready", `node/${nodeName}`, `--timeout=${READY_SECONDS}s`]);
  };
  await Promise.race([ready(), failWhenOneEnds([containerd, kubelet, kubeProxy])]);
  return restarts;
}
