import { ConnectError } from "@cluster-connect/protocol";
import { z } from "zod";

/** What one hop says about itself. */
export interface HopHealth {
  readonly ok: boolean;
  /** One line for a person. */
  readonly text: string;
}

/** An agent's answer on a stream to the upstream `probe`: the way from it to the kube-apiserver. */
export interface ProbeDocument {
  readonly agent: HopHealth;
  readonly authProxy: HopHealth;
  readonly apiserver: HopHealth;
}

const HOP: z.ZodType<HopHealth> = z.object({ ok: z.boolean(), text: z.string().max(1_024) });
const DOCUMENT: z.ZodType<ProbeDocument> = z.object({ agent: HOP, authProxy: HOP, apiserver: HOP });

/** Longest answer that is read, in bytes. */
export const MAX_PROBE_BYTES = 16_384;

/** @throws ConnectError `CC_PROTOCOL` when the text is no such document. */
export function parseProbeDocument(text: string): ProbeDocument {
  const result = DOCUMENT.safeParse(parseJson(text));
  if (result.success) return result.data;
  throw new ConnectError("CC_PROTOCOL", "The agent's health answer is not the document that is expected");
}

/** The first hop that is not well, in the order of the way; undefined when all are. */
export function firstFailure(document: ProbeDocument): string | undefined {
  const hops = [
    ["agent", document.agent],
    ["auth proxy", document.authProxy],
    ["kube-apiserver", document.apiserver],
  ] as const;
  const failed = hops.find(([, { ok }]) => !ok);
  return failed === undefined ? undefined : `${failed[0]}: ${failed[1].text}`;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
