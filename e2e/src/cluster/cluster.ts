import type { AuditEvent } from "./audit-log.ts";

/** What a provider's cluster can do; suites leave out what needs more. */
interface ClusterFeatures {
  /** Controllers run: ServiceAccounts of new namespaces, garbage collection, Deployments. */
  readonly controllers: boolean;
  /** Pods run on a node: exec, logs, port-forward. */
  readonly pods: boolean;
  /** The audit log can be read. */
  readonly auditLog: boolean;
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
  /** Ends what the provider started and removes its files. */
  stop(): Promise<void>;
}
