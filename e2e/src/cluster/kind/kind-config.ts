/** Settings of a new cluster. */
export interface KindConfigOptions {
  /** A folder of this machine that the apiserver writes its audit log to. */
  readonly auditFolder: string;
  /** For a node image of `e2e/images/kind-node.sh`; kind's own needs none of it. */
  readonly ownImage: boolean;
}

/** Files in the folder of the audit log. */
export const AUDIT_FILES = { policy: "policy.yaml", log: "audit.log" } as const;

/** Where the node and the apiserver see the folder of the audit log. */
const INSIDE = "/cluster-connect-audit";

/** Settings that carry their name in kubeadm's newer format are a list there. */
const AUDIT_SETTINGS: readonly (readonly [name: string, value: string])[] = [
  ["audit-policy-file", `${INSIDE}/${AUDIT_FILES.policy}`],
  ["audit-log-path", `${INSIDE}/${AUDIT_FILES.log}`],
  ["audit-log-mode", "blocking"],
];

function auditPatches(): readonly object[] {
  const extraVolumes = [{ name: "audit", hostPath: INSIDE, mountPath: INSIDE, pathType: "Directory" }];
  const named = AUDIT_SETTINGS.map(([name, value]) => ({ name, value }));
  const patch = (version: string, extraArgs: object): object => ({
    apiVersion: `kubeadm.k8s.io/${version}`,
    kind: "ClusterConfiguration",
    apiServer: { extraArgs, extraVolumes },
  });
  return [patch("v1beta3", Object.fromEntries(AUDIT_SETTINGS)), patch("v1beta4", named)];
}

/** The image has its network already, and may run where control groups are of version 1 and sysctls cannot be set. */
const OWN_IMAGE_PATCHES: readonly object[] = [
  { kind: "KubeletConfiguration", failCgroupV1: false, localStorageCapacityIsolation: false },
  { kind: "InitConfiguration", skipPhases: ["preflight"] },
  {
    apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
    kind: "KubeProxyConfiguration",
    conntrack: { maxPerCore: 0, min: 0 },
  },
];

/** kind's configuration of a cluster of one node, as JSON, which is YAML, too. */
export function kindConfig({ auditFolder, ownImage }: KindConfigOptions): string {
  const patches = [...auditPatches(), ...(ownImage ? OWN_IMAGE_PATCHES : [])];
  return JSON.stringify({
    kind: "Cluster",
    apiVersion: "kind.x-k8s.io/v1alpha4",
    networking: { disableDefaultCNI: ownImage },
    nodes: [{ role: "control-plane", extraMounts: [{ hostPath: auditFolder, containerPath: INSIDE }] }],
    kubeadmConfigPatches: patches.map((patch) => JSON.stringify(patch)),
  });
}
