/** Payloads below this are copied: the message they lie in would be held for as long as they are. */
const COPY_BELOW_BYTES = 4_096;

/** The bytes of a payload, for keeping: small ones no longer share memory with the message they came in. */
export function unshared(payload: Uint8Array): Uint8Array {
  return payload.length < COPY_BELOW_BYTES ? Buffer.from(payload) : payload;
}
