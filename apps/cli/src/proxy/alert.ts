/** The reason a TLS client gets before its connection is closed. */
export type Alert = "unrecognizedName" | "internalError";

const DESCRIPTIONS: Readonly<Record<Alert, number>> = { unrecognizedName: 112, internalError: 80 };

/** A fatal TLS alert in clear, as a server may send it before it answered the ClientHello. */
export function tlsAlert(alert: Alert): Uint8Array {
  return Uint8Array.of(21, 3, 3, 0, 2, 2, DESCRIPTIONS[alert]);
}

/** Largest TLS record with its header, as TLS 1.2 allows it. */
const MAX_RECORD_BYTES = 5 + 16_384 + 2_048;

/**
 * Bytes that are an error to a TLS client, wherever its stream of records stands. They complete the record that it
 * waits for, which is then no record of the server's, and no record begins like them. A client that is reset instead
 * may take that for an end: `kubectl get --watch` then ends without a word.
 */
export const BROKEN_TLS: Uint8Array = new Uint8Array(MAX_RECORD_BYTES);
