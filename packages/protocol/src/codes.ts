import { ERRORS, type ErrorCode } from "./errors.ts";

/** Code 0: a RESET or GOAWAY without a complaint. */
export const WIRE_OK = 0;

const CODE_BY_WIRE: ReadonlyMap<number, ErrorCode> = new Map(
  Object.entries(ERRORS).flatMap(([code, spec]) => (spec.wire === undefined ? [] : [[spec.wire, code as ErrorCode]])),
);

/** The number a code has in REJECT, RESET and GOAWAY; codes that never travel become `CC_INTERNAL`. */
export function wireOf(code: ErrorCode): number {
  return ERRORS[code].wire ?? ERRORS.CC_INTERNAL.wire ?? 0;
}

/** The code behind a wire number; numbers of a later minor version read as `CC_STREAM_RESET`. */
export function codeOfWire(wire: number): ErrorCode {
  return CODE_BY_WIRE.get(wire) ?? "CC_STREAM_RESET";
}
