import { ConnectError } from "../errors.ts";
import { decodeFields, encodeFields, type Fields } from "../fields.ts";

/** One hop's report about itself. */
export interface HopHealth {
  readonly ok: boolean;
  /** One line for a person. */
  readonly text: string;
}

/** The agent's answer on a stream to the upstream `probe`: the way from it to the kube-apiserver. */
export interface ProbeDocument {
  readonly agent: HopHealth;
  readonly authProxy: HopHealth;
  readonly apiserver: HopHealth;
}

/** Longest text of one hop, in characters. */
const MAX_HOP_TEXT = 1_024;

/** JSON bytes of the answer to a probe. */
export function encodeProbe(document: ProbeDocument): Uint8Array {
  return encodeFields(document);
}

/** @throws ConnectError `CC_FRAME_INVALID` naming the first field that is missing or wrong. */
export function decodeProbe(bytes: Uint8Array): ProbeDocument {
  const fields = decodeFields(bytes, "The probe's answer");
  return { agent: hop(fields, "agent"), authProxy: hop(fields, "authProxy"), apiserver: hop(fields, "apiserver") };
}

function hop(fields: Fields, name: string): HopHealth {
  const found = fields.object(name);
  if (found === undefined) throw new ConnectError("CC_FRAME_INVALID", `The probe's answer does not tell of ${name}`);
  return { ok: found.requiredBoolean("ok"), text: found.string("text", MAX_HOP_TEXT) };
}
