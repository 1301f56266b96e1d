import type { StreamOrigin } from "@cluster-connect/protocol";

/** Known facts of a request beside its bytes. */
export interface Arrival {
  readonly origin: StreamOrigin;
  /** Aborted when the caller can no longer be answered. */
  readonly gone: AbortSignal;
}
