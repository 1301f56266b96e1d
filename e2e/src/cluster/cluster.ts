import { ConnectError } from "@cluster-connect/protocol";
import type { AuditEvent } from "./control-plane/audit-log.ts";

/** Loads no image: for providers whose nodes are not ours, or that have none. */
export const noImages = async (): Promise<never> => {
  throw new ConnectError("CC_KUBERNETES_UNAVAILABLE", "This Kubernetes takes no images from here", {
    hint: "Push them to a registry that it reaches, and name that in the chart's values.",
  });
};

/** Features of a provider's cluster; suites leave out tests that need more. */
interface ClusterFeatures {
  /** Controllers run: ServiceAccounts of new namespaces, garbage collection, Deployments. */
  readonly controllers: boolean;
  /** Pods run on a node: exec, logs, port-forward. */
  readonly pods: boolean;
  /** The audit log can be read. */
  readonly auditLog: boolean;
}

/** A host on the network that is not in the cluster. */
export interface Outside {
  /**
   * From now on nothing begins outside: everything that reaches a pod is an answer.
   *
   * @param reachable Addresses that pods may dial outside, where the node is of our own; any without it.
   */
  refuse(reachable?: readonly string[]): Promise<void>;
  /** Whether a pod's port can be dialed from outside. */
  reaches(address: string, port: number): Promise<boolean>;
}

/** A Kubernetes that the suites and the demo use, wherever it comes from. */
export interface Cluster extends AsyncDisposable {
  /** File with an administrator's kubeconfig. */
  readonly kubeconfigPath: string;
  readonly apiserverUrl: string;
  /** CA of the apiserver's certificate. */
  readonly caPem: string;
  readonly features: ClusterFeatures;
  /** Every audit event from the first on, then those that follow; none where {@link ClusterFeatures.auditLog} is false. */
  auditEvents(options: { readonly signal: AbortSignal }): AsyncIterable<AuditEvent>;
  /** The file of the audit log, a JSON event a line; undefined where {@link ClusterFeatures.auditLog} is false. */
  readonly auditLogPath?: string;
  /** Where pods reach this machine; loopback where there are no pods of this machine's own. */
  readonly hostAddress: string;
  /**
   * Gives pods an image.
   *
   * @param archive As `docker save` writes it.
   * @throws ConnectError `CC_KUBERNETES_UNAVAILABLE` where the provider has no node of its own.
   */
  loadImage(archive: string): Promise<void>;
  /**
   * Stops a program of Kubernetes and starts it again with the same files; resolves when it runs, which is before it is
   * ready. Undefined where they are not ours.
   */
  readonly restart?: (program: string) => Promise<void>;
  /** A host outside of the cluster; undefined where there is no node of our own. */
  readonly outside?: Outside;
  /** Ends what the provider started and removes its files. */
  stop(): Promise<void>;
}
