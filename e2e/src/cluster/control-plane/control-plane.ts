import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ConnectError } from "@cluster-connect/protocol";
import { freePort } from "../../process/free-port.ts";
import type { Keeper, Program } from "../../process/keeper.ts";
import { pollUntil } from "../../process/poll.ts";
import type { Assets } from "../binaries/assets.ts";
import { type Cluster, noImages } from "../cluster.ts";
import { getStatus } from "./api-request.ts";
import { followAuditLog } from "./audit-log.ts";
import { createAuthority, type Identity, type LeafSpec, newKeyPairPem } from "./certificates.ts";
import {
  APISERVER_HOSTS,
  AUDIT_POLICY,
  apiserverComponent,
  type Component,
  type ControlPlanePorts,
  controllerComponents,
  etcdComponent,
  FILES,
  type NodeAddresses,
} from "./components.ts";
import { renderKubeconfig } from "./kubeconfig.ts";

/** Dependencies of a control plane. */
export interface ControlPlaneDeps {
  readonly keeper: Keeper;
  readonly assets: Assets;
  readonly now: () => Date;
  /** Replaced in tests to provoke a clash. */
  readonly freePort?: () => Promise<number>;
}

/** How to start a control plane. */
export interface ControlPlaneOptions {
  /** An empty or missing folder for certificates, logs and etcd's files. */
  readonly folder: string;
  readonly signal: AbortSignal;
  /** A node that will join: the apiserver listens on the link to it, and its certificates are made. */
  readonly node?: NodeAddresses;
}

const START_TIMEOUT_MS = 180_000;
const ATTEMPTS = 5;
const PORT_TAKEN = "address already in use";

interface Credentials {
  readonly caPem: string;
  readonly admin: Identity;
}

/** The port was taken between choosing and using it; another attempt chooses others. */
class PortClash extends Error {
  override readonly name = "PortClash";
}

async function writeCredentials(
  folder: string,
  apiserverUrl: string,
  node: NodeAddresses | undefined,
  now: () => Date,
): Promise<Credentials> {
  const authority = await createAuthority("cluster-connect local Kubernetes", { now });
  const secret = (name: string, content: string): Promise<void> =>
    writeFile(join(folder, name), content, { mode: 0o600 });
  const kubeconfig = async (name: string, commonName: string, organization?: string): Promise<Identity> => {
    const identity = await authority.issue({ commonName, ...(organization === undefined ? {} : { organization }) });
    await secret(name, renderKubeconfig(apiserverUrl, authority.certPem, identity));
    return identity;
  };
  const pair = async (name: string, spec: LeafSpec): Promise<void> => {
    const identity = await authority.issue(spec);
    await secret(`${name}.crt`, identity.certPem);
    await secret(`${name}.key`, identity.keyPem);
  };
  await secret(FILES.ca, authority.certPem);
  await pair(FILES.etcd, { commonName: "etcd", hosts: ["127.0.0.1"] });
  const hosts = node === undefined ? APISERVER_HOSTS : [...APISERVER_HOSTS, node.apiserver];
  await pair(FILES.apiserver, { commonName: "kube-apiserver", hosts });
  const keys = await newKeyPairPem();
  await secret(FILES.serviceAccountKey, keys.privatePem);
  await secret(FILES.serviceAccountPublicKey, keys.publicPem);
  await secret(FILES.auditPolicy, AUDIT_POLICY);
  await secret(FILES.auditLog, "");
  await kubeconfig(FILES.controllerManager, "system:kube-controller-manager");
  await kubeconfig(FILES.scheduler, "system:kube-scheduler");
  if (node !== undefined) {
    await pair(FILES.kubelet, { commonName: node.name, hosts: [node.name, node.kubelet] });
    await pair(FILES.kubeletClient, { commonName: "kube-apiserver-kubelet-client", organization: "system:masters" });
    await kubeconfig(FILES.kubeletKubeconfig, `system:node:${node.name}`, "system:nodes");
    await kubeconfig(FILES.kubeProxy, "system:kube-proxy");
  }
  const admin = await kubeconfig(FILES.admin, "kubernetes-admin", "system:masters");
  return { caPem: authority.certPem, admin };
}

const urlOf = (ports: ControlPlanePorts, node: NodeAddresses | undefined): string =>
  `https://${node?.apiserver ?? "127.0.0.1"}:${ports.apiserver}`;

/** Rejects as soon as one of the programs ends, with the last line it wrote. */
async function failWhenOneEnds(programs: readonly Program[]): Promise<never> {
  const ended = await Promise.race(programs.map((program) => program.ended.then(() => program)));
  const log = await readFile(ended.logPath, "utf8");
  if (log.includes(PORT_TAKEN)) throw new PortClash(`${ended.name} lost its port`);
  const last = log.trim().split("\n").at(-1) ?? "";
  throw new ConnectError("CC_KUBERNETES_UNAVAILABLE", `${ended.name} ended while starting: ${last}`);
}

function startComponent(component: Component, folder: string, keeper: Keeper): Promise<Program> {
  const logPath = join(folder, `${component.name}.log`);
  return keeper.start({ ...component, cwd: folder, env: { HOME: folder, PATH: "/usr/bin:/bin" }, logPath });
}

async function waitFor(path: string, base: string, credentials: Credentials, signal: AbortSignal): Promise<void> {
  await pollUntil(
    async () => {
      const request = { url: `${base}${path}`, caPem: credentials.caPem, identity: credentials.admin, signal };
      return (await getStatus(request)) === 200 ? true : undefined;
    },
    { signal },
  );
}

interface Started {
  readonly credentials: Credentials;
  readonly programs: readonly Program[];
  readonly restart: (name: string) => Promise<void>;
}

/** One attempt: what it started is stopped again when it fails. */
async function attempt(
  folder: string,
  ports: ControlPlanePorts,
  options: Pick<ControlPlaneOptions, "signal" | "node">,
  deps: ControlPlaneDeps,
): Promise<Started> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const { node, signal } = options;
  const url = urlOf(ports, node);
  const credentials = await writeCredentials(folder, url, node, deps.now);
  const programs: Program[] = [];
  const components: Component[] = [];
  const run = async (component: Component): Promise<void> => {
    components.push(component);
    programs.push(await startComponent(component, folder, deps.keeper));
  };
  const ready = async (path: string): Promise<void> => {
    const stopWaiting = new AbortController();
    const waiting = AbortSignal.any([signal, stopWaiting.signal]);
    const there = waitFor(path, url, credentials, waiting);
    await Promise.race([there, failWhenOneEnds(programs)]).finally(() => stopWaiting.abort());
  };
  try {
    const { assets } = deps;
    await run(etcdComponent(assets, folder, ports));
    await run(apiserverComponent(assets, folder, ports, node));
    await ready("/readyz");
    // They give up when the apiserver is not ready for them within seconds.
    for (const component of controllerComponents(assets, folder)) await run(component);
    if (assets.controllerManager !== undefined) await ready("/api/v1/namespaces/default/serviceaccounts/default");
    const restart = async (name: string): Promise<void> => {
      const index = components.findIndex((component) => component.name === name);
      const component = components[index];
      if (component === undefined) throw new ConnectError("CC_KUBERNETES_UNAVAILABLE", `there is no ${name}`);
      await programs[index]?.stop();
      programs[index] = await startComponent(component, folder, deps.keeper);
    };
    return { credentials, programs, restart };
  } catch (error) {
    await stopAll(programs);
    throw error;
  }
}

/** Ends the programs that need others first. */
async function stopAll(programs: readonly Program[]): Promise<void> {
  const [etcd, ...others] = programs;
  await Promise.all(others.map((program) => program.stop()));
  await etcd?.stop();
}

/**
 * Starts a control plane and resolves when it is ready.
 *
 * @throws ConnectError `CC_KUBERNETES_UNAVAILABLE` naming the component that failed and the folder of the logs.
 */
export async function startControlPlane(options: ControlPlaneOptions, deps: ControlPlaneDeps): Promise<Cluster> {
  const choose = deps.freePort ?? freePort;
  for (let left = ATTEMPTS; ; left--) {
    const ports = { etcd: await choose(), etcdPeer: await choose(), apiserver: await choose() };
    const folder = join(options.folder, `control-plane-${ATTEMPTS - left + 1}`);
    const deadline = AbortSignal.timeout(START_TIMEOUT_MS);
    try {
      const signal = AbortSignal.any([options.signal, deadline]);
      const started = await attempt(folder, ports, { ...options, signal }, deps);
      return describe(folder, urlOf(ports, options.node), started, deps.assets);
    } catch (error) {
      if (error instanceof PortClash && left > 1) continue;
      if (!deadline.aborted || options.signal.aborted) throw error;
      const message = `the control plane was not ready after ${START_TIMEOUT_MS / 1000} s; its logs are in ${folder}`;
      throw new ConnectError("CC_KUBERNETES_UNAVAILABLE", message, { cause: error });
    }
  }
}

function describe(
  folder: string,
  apiserverUrl: string,
  { credentials, programs, restart }: Started,
  assets: Assets,
): Cluster {
  const stop = (): Promise<void> => stopAll(programs);
  const auditLogPath = join(folder, FILES.auditLog);
  return {
    kubeconfigPath: join(folder, FILES.admin),
    apiserverUrl,
    caPem: credentials.caPem,
    features: { controllers: assets.controllerManager !== undefined, pods: false, auditLog: true },
    hostAddress: "127.0.0.1",
    loadImage: noImages,
    auditEvents: (follow) => followAuditLog(auditLogPath, follow),
    auditLogPath,
    restart,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
