import { type ClusterId, parseClusterId } from "@cluster-connect/protocol";
import { z } from "zod";
import type { KubeconfigEntry } from "../kubeconfig/entry.ts";
import { ENTRY } from "../kubeconfig/entry-schema.ts";

/** A proxy that runs, or ran until it was killed: enough to find it, to end it, and to clean up after it. */
export interface ProxyRecord {
  /** As `formatProcessId` writes it. */
  readonly process: string;
  readonly startedAt: string;
  readonly relay: string;
  readonly clusters: readonly ClusterId[];
  readonly port: number;
  /** The secret that the proxy proves its port with. */
  readonly proofSecret: string;
  /** Every cluster has answered, and kubectl finds the entries. */
  readonly ready: boolean;
  /** File that it writes instead of a screen. */
  readonly log: string | null;
  /** File it added its entries to; null when it only printed them. */
  readonly kubeconfig: string | null;
  readonly entries: readonly KubeconfigEntry[];
  /** The current context before it was started; null when the file did not say. */
  readonly former: string | null;
  /** Whether the kubeconfig was there before. */
  readonly existed: boolean;
}

const RECORD: z.ZodType<ProxyRecord> = z.object({
  process: z.string(),
  startedAt: z.string(),
  relay: z.string(),
  clusters: z.array(z.string().transform((id) => parseClusterId(id))),
  port: z.int(),
  proofSecret: z.string().min(32),
  ready: z.boolean(),
  log: z.string().nullable(),
  kubeconfig: z.string().nullable(),
  entries: z.array(ENTRY),
  former: z.string().nullable(),
  existed: z.boolean(),
});

export function formatProxyRecord(record: ProxyRecord): string {
  return `${JSON.stringify(record, undefined, 1)}\n`;
}

/** Undefined when the text is no record: it was written by another version, or cut. */
export function parseProxyRecord(text: string): ProxyRecord | undefined {
  try {
    const parsed = RECORD.safeParse(JSON.parse(text));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}
