import { join } from "node:path";
import { stringify } from "yaml";
import { FILES } from "../control-plane/components.ts";
import { NODE_IMAGE } from "./image.ts";
import type { Link } from "./link.ts";
import { CNI_FOLDER } from "./prerequisites.ts";

/** Where containerd listens, inside the node's namespaces. */
export const CONTAINERD_SOCKET = "/run/containerd/containerd.sock";

/** Files of a node, inside its folder. */
export const NODE_FILES = {
  containerd: "containerd.toml",
  cni: "cni",
  kubelet: "kubelet.yaml",
  kubeProxy: "kube-proxy.yaml",
  image: "image.tar",
  resolver: "resolv.conf",
} as const;

/** The facts of a node that its configurations are made of. */
export interface NodeConfiguration {
  /** The node's folder. */
  readonly folder: string;
  /** The control plane's folder, with certificates and kubeconfigs. */
  readonly credentials: string;
  readonly nodeName: string;
  readonly link: Link;
  readonly cgroup: string;
}

/** containerd: without the adjustment that a machine without CAP_SYS_RESOURCE refuses, and with images of our own. */
export function containerdConfiguration({ folder }: NodeConfiguration): string {
  const text = (value: string): string => JSON.stringify(value);
  return `version = 2
root = ${text(join(folder, "containerd"))}
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt"]

[grpc]
  address = ${text(CONTAINERD_SOCKET)}

[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  sandbox_image = ${text(NODE_IMAGE)}
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = ${text(CNI_FOLDER)}
    conf_dir = ${text(join(folder, NODE_FILES.cni))}
`;
}

/** The pods' network: a bridge of the node, an address each, host ports. */
export function cniConfiguration({ link }: NodeConfiguration): string {
  const bridge = { type: "bridge", bridge: "pods0", isGateway: true, ipMasq: true, hairpinMode: true };
  const ipam = { type: "host-local", ranges: [[{ subnet: link.podRange }]], routes: [{ dst: "0.0.0.0/0" }] };
  const plugins = [
    { ...bridge, ipam },
    { type: "portmap", capabilities: { portMappings: true } },
  ];
  return JSON.stringify({ cniVersion: "0.4.0", name: "pods", plugins });
}

/** The kubelet: asks the apiserver for the caller's identity, and keeps out of the machine's other resources. */
export function kubeletConfiguration({ folder, credentials, link, cgroup }: NodeConfiguration): string {
  const credential = (name: string): string => join(credentials, name);
  return stringify({
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    address: link.node,
    containerRuntimeEndpoint: `unix://${CONTAINERD_SOCKET}`,
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: credential(FILES.ca) },
    },
    authorization: { mode: "Webhook" },
    tlsCertFile: credential(`${FILES.kubelet}.crt`),
    tlsPrivateKeyFile: credential(`${FILES.kubelet}.key`),
    cgroupDriver: "cgroupfs",
    cgroupRoot: cgroup,
    enforceNodeAllocatable: [],
    failCgroupV1: false,
    failSwapOn: false,
    // How often a changed Secret or token is brought to its pods.
    syncFrequency: "10s",
    localStorageCapacityIsolation: false,
    resolvConf: join(folder, NODE_FILES.resolver),
    volumePluginDir: join(folder, "volume-plugins"),
    // However full the disk of the machine is: the images are all there is, and nothing could bring them back.
    imageGCHighThresholdPercent: 100,
    evictionHard: { "memory.available": "50Mi", "nodefs.available": "100Mi", "imagefs.available": "100Mi" },
  });
}

/** kube-proxy: Service addresses for pods, with what it would change for the whole machine left out. */
export function kubeProxyConfiguration({ credentials, nodeName, link }: NodeConfiguration): string {
  return stringify({
    apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
    kind: "KubeProxyConfiguration",
    mode: "iptables",
    hostnameOverride: nodeName,
    clientConnection: { kubeconfig: join(credentials, FILES.kubeProxy) },
    clusterCIDR: link.podRange,
    conntrack: { maxPerCore: 0, min: 0 },
  });
}
