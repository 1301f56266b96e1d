import type { Principal } from "@cluster-connect/auth";
import type { ErrorCode, StreamOrigin } from "@cluster-connect/protocol";
import type { Span } from "@cluster-connect/service";
import type { RequestInfo } from "./info.ts";

/** Known facts of one request when it is over; one line in the log. */
export interface RequestRecord {
  readonly auditId: string;
  readonly startedAt: number;
  readonly origin: StreamOrigin;
  readonly info: RequestInfo;
  /** Its part of the stream's trace, where spans are collected. */
  readonly span?: Span | undefined;
  /** Whether it passed every check and was sent to the apiserver. */
  allowed: boolean;
  principal?: Principal;
  /** Username that the caller acts as. */
  actingAs?: string;
  /** Our own word; absent where the apiserver gave the answer. */
  code?: ErrorCode;
  reason?: string;
  status?: number;
  bytes: number;
}
