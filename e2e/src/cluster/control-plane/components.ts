import { join } from "node:path";
import type { Assets } from "../binaries/assets.ts";

/** A component's program and its flags. */
export interface Component {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
}

/** Ports of one attempt; all on loopback. */
export interface ControlPlanePorts {
  readonly etcd: number;
  readonly etcdPeer: number;
  readonly apiserver: number;
}

/** Where a node and its control plane find each other; without a node everything is on loopback. */
export interface NodeAddresses {
  /** The node's name in Kubernetes. */
  readonly name: string;
  /** Address of the host on the link to the node; the apiserver listens there. */
  readonly apiserver: string;
  /** Address of the node on that link; the kubelet listens there. */
  readonly kubelet: string;
}

/** Names of the files that {@link components} refers to, inside the work folder. */
export const FILES = {
  ca: "ca.crt",
  etcd: "etcd",
  apiserver: "apiserver",
  serviceAccountKey: "service-account.key",
  serviceAccountPublicKey: "service-account.pub",
  auditPolicy: "audit-policy.yaml",
  auditLog: "audit.log",
  admin: "admin.kubeconfig",
  controllerManager: "controller-manager.kubeconfig",
  scheduler: "scheduler.kubeconfig",
  /** Only where there is a node. */
  kubelet: "kubelet",
  kubeletKubeconfig: "kubelet.kubeconfig",
  kubeletClient: "apiserver-kubelet-client",
  kubeProxy: "kube-proxy.kubeconfig",
} as const;

/** Every request once, when it is answered; long-running ones also when they begin. */
export const AUDIT_POLICY =
  "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n- level: Metadata\n";

const SERVICE_RANGE = "10.96.0.0/16";

/** The cluster's own names of its apiserver, beside loopback. */
export const APISERVER_HOSTS: readonly string[] = [
  "127.0.0.1",
  "localhost",
  "kubernetes",
  "kubernetes.default",
  "kubernetes.default.svc",
  "kubernetes.default.svc.cluster.local",
  "10.96.0.1",
];

const flags = (values: Readonly<Record<string, string>>): string[] =>
  Object.entries(values).map(([name, value]) => `--${name}=${value}`);

/** etcd without fsync: what it holds need not outlive the machine. */
export function etcdComponent(assets: Assets, folder: string, ports: ControlPlanePorts): Component {
  const file = (name: string): string => join(folder, name);
  const client = `https://127.0.0.1:${ports.etcd}`;
  const peer = `http://127.0.0.1:${ports.etcdPeer}`;
  const args = flags({
    "data-dir": file("etcd-data"),
    "listen-client-urls": client,
    "advertise-client-urls": client,
    "listen-peer-urls": peer,
    "initial-advertise-peer-urls": peer,
    "initial-cluster": `default=${peer}`,
    "cert-file": file(`${FILES.etcd}.crt`),
    "key-file": file(`${FILES.etcd}.key`),
    "trusted-ca-file": file(FILES.ca),
    "client-cert-auth": "true",
    "unsafe-no-fsync": "true",
    "log-level": "warn",
  });
  return { name: "etcd", command: assets.etcd, args };
}

const ALONE = {
  "bind-address": "127.0.0.1",
  // Loopback may not be an endpoint of the `kubernetes` Service, and nothing here looks for it there.
  "endpoint-reconciler-type": "none",
} as const;

/** Flags of an apiserver that pods and a kubelet reach, and that reaches them. */
function besideNode(node: NodeAddresses, file: (name: string) => string): Readonly<Record<string, string>> {
  return {
    "bind-address": node.apiserver,
    "advertise-address": node.apiserver,
    "kubelet-preferred-address-types": "InternalIP",
    "kubelet-certificate-authority": file(FILES.ca),
    "kubelet-client-certificate": file(`${FILES.kubeletClient}.crt`),
    "kubelet-client-key": file(`${FILES.kubeletClient}.key`),
    // Service addresses are known to the node alone; the apiserver calls webhooks by the addresses of their pods.
    "enable-aggregator-routing": "true",
  };
}

/** kube-apiserver with RBAC, an audit log of every request, and a CA whose client certificates it accepts. */
export function apiserverComponent(
  assets: Assets,
  folder: string,
  ports: ControlPlanePorts,
  node: NodeAddresses | undefined,
): Component {
  const file = (name: string): string => join(folder, name);
  const args = flags({
    ...(node === undefined ? ALONE : besideNode(node, file)),
    "etcd-servers": `https://127.0.0.1:${ports.etcd}`,
    "etcd-cafile": file(FILES.ca),
    "etcd-certfile": file(`${FILES.etcd}.crt`),
    "etcd-keyfile": file(`${FILES.etcd}.key`),
    "secure-port": String(ports.apiserver),
    "tls-cert-file": file(`${FILES.apiserver}.crt`),
    "tls-private-key-file": file(`${FILES.apiserver}.key`),
    "client-ca-file": file(FILES.ca),
    "authorization-mode": "Node,RBAC",
    "service-account-issuer": "https://kubernetes.default.svc",
    "service-account-signing-key-file": file(FILES.serviceAccountKey),
    "service-account-key-file": file(FILES.serviceAccountPublicKey),
    "service-cluster-ip-range": SERVICE_RANGE,
    "audit-policy-file": file(FILES.auditPolicy),
    "audit-log-path": file(FILES.auditLog),
    "audit-log-mode": "blocking",
    "allow-privileged": "true",
  });
  return { name: "kube-apiserver", command: assets.apiserver, args };
}

/** The programs that reconcile and schedule, as far as they are there. */
export function controllerComponents(assets: Assets, folder: string): readonly Component[] {
  const file = (name: string): string => join(folder, name);
  const shared = { "leader-elect": "false", "secure-port": "0", "kube-api-qps": "500", "kube-api-burst": "1000" };
  const found: Component[] = [];
  if (assets.controllerManager !== undefined) {
    const args = flags({
      ...shared,
      kubeconfig: file(FILES.controllerManager),
      "use-service-account-credentials": "true",
      "service-account-private-key-file": file(FILES.serviceAccountKey),
      "root-ca-file": file(FILES.ca),
      "service-cluster-ip-range": SERVICE_RANGE,
    });
    found.push({ name: "kube-controller-manager", command: assets.controllerManager, args });
  }
  if (assets.scheduler !== undefined) {
    const args = flags({ ...shared, kubeconfig: file(FILES.scheduler) });
    found.push({ name: "kube-scheduler", command: assets.scheduler, args });
  }
  return found;
}
