/** The fields of a pod that OpenShift's SecurityContextConstraints `restricted-v2` read. */
interface PodSpec {
  readonly hostNetwork?: boolean;
  readonly hostPID?: boolean;
  readonly hostIPC?: boolean;
  readonly securityContext?: SecurityContext;
  readonly initContainers?: readonly Container[];
  readonly containers: readonly Container[];
  readonly volumes?: readonly Readonly<Record<string, unknown>>[];
}

interface Container {
  readonly name: string;
  readonly ports?: readonly { readonly hostPort?: number }[];
  readonly securityContext?: SecurityContext;
}

interface SecurityContext {
  readonly runAsUser?: number;
  readonly runAsGroup?: number;
  readonly runAsNonRoot?: boolean;
  readonly fsGroup?: number;
  readonly supplementalGroups?: readonly number[];
  readonly seLinuxOptions?: unknown;
  readonly sysctls?: unknown;
  readonly seccompProfile?: { readonly type?: string };
  readonly privileged?: boolean;
  readonly allowPrivilegeEscalation?: boolean;
  readonly capabilities?: { readonly add?: readonly string[]; readonly drop?: readonly string[] };
}

/** A pod as it is in an object of the chart, whichever kind has it. */
export interface PodOf {
  /** Kind and name of the object. */
  readonly name: string;
  readonly spec: PodSpec;
}

/** Volumes that it allows; no hostPath among them. */
const VOLUMES: readonly string[] = [
  ...["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"],
];

const contexts = ({ spec }: PodOf): readonly SecurityContext[] => [
  spec.securityContext ?? {},
  ...containers(spec).map(({ securityContext = {} }) => securityContext),
];
const containers = (spec: PodSpec): readonly Container[] => [...(spec.initContainers ?? []), ...spec.containers];
const inEach = (holds: (context: SecurityContext) => boolean) => (pod: PodOf) =>
  containers(pod.spec).every(({ securityContext = {} }) => holds(securityContext));
const inAll = (holds: (context: SecurityContext) => boolean) => (pod: PodOf) => contexts(pod).every(holds);

/**
 * Each rule of `restricted-v2`, and whether a pod keeps it without being changed.
 *
 * @see https://docs.openshift.com/container-platform/latest/authentication/managing-security-context-constraints.html
 */
export const RESTRICTED_V2: Readonly<Record<string, (pod: PodOf) => boolean>> = {
  "runAsUser MustRunAsRange: none of its own": inAll(({ runAsUser }) => runAsUser === undefined),
  "no group of its own": inAll(({ runAsGroup }) => runAsGroup === undefined),
  "fsGroup MustRunAs: none of its own": inAll(({ fsGroup }) => fsGroup === undefined),
  "no supplemental groups": inAll(({ supplementalGroups = [] }) => supplementalGroups.length === 0),
  "seLinuxContext MustRunAs: none of its own": inAll(({ seLinuxOptions }) => seLinuxOptions === undefined),
  "no sysctls": inAll(({ sysctls }) => sysctls === undefined),
  "never as root": ({ spec }) => spec.securityContext?.runAsNonRoot === true,
  "seccompProfiles: runtime/default": (pod) =>
    pod.spec.securityContext?.seccompProfile?.type === "RuntimeDefault" &&
    inEach(({ seccompProfile }) => seccompProfile === undefined)(pod),
  "requiredDropCapabilities: ALL": inEach(({ capabilities }) => capabilities?.drop?.includes("ALL") === true),
  "allowedCapabilities: none that it needs": inEach(({ capabilities }) => (capabilities?.add ?? []).length === 0),
  "allowPrivilegeEscalation: false": inEach(({ allowPrivilegeEscalation }) => allowPrivilegeEscalation === false),
  "allowPrivilegedContainer: false": inEach(({ privileged }) => privileged !== true),
  "no network, processes or memory of the host": ({ spec }) => !spec.hostNetwork && !spec.hostPID && !spec.hostIPC,
  "allowHostPorts: false": ({ spec }) =>
    containers(spec).every(({ ports = [] }) => ports.every((port) => !port.hostPort)),
  "volumes: none of the host": ({ spec }) =>
    (spec.volumes ?? []).every((volume) => Object.keys(volume).every((key) => key === "name" || VOLUMES.includes(key))),
};
