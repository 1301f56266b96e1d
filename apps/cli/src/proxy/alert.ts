/** The reason a TLS client gets before its connection is closed. */
export type Alert = "unrecognizedName" | "internalError";

const DESCRIPTIONS: Readonly<Record<Alert, number>> = { unrecognizedName: 112, internalError: 80 };

/** A fatal TLS alert in clear, as a server may send it before it answered the ClientHello. */
export function tlsAlert(alert: Alert): Uint8Array {
  return Uint8Array.of(21, 3, 3, 0, 2, 2, DESCRIPTIONS[alert]);
}
