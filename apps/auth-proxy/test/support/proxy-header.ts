/** Fields that a test puts into the PROXY header. */
export interface HeaderFields {
  readonly address?: readonly [number, number, number, number];
  readonly sessionId?: string;
  readonly correlationId?: string;
  readonly username?: string;
  readonly traceparent?: string;
}

const SIGNATURE = Buffer.from("0d0a0d0a000d0a515549540a", "hex");

/** A PROXY protocol v2 header, written by the specification and not by our own code. */
export function buildProxyHeader(fields: HeaderFields = {}): Buffer {
  const address =
    fields.address === undefined ? Buffer.alloc(0) : Buffer.from([...fields.address, ...new Array(8).fill(0)]);
  const tlvs = [
    tlv(0xe0, fields.sessionId),
    tlv(0xe1, fields.correlationId),
    tlv(0xe2, fields.username),
    tlv(0xe3, fields.traceparent),
  ];
  const body = Buffer.concat([address, ...tlvs]);
  const head = Buffer.from([fields.address === undefined ? 0x20 : 0x21, fields.address === undefined ? 0 : 0x11, 0, 0]);
  head.writeUInt16BE(body.length, 2);
  return Buffer.concat([SIGNATURE, head, body]);
}

function tlv(type: number, text: string | undefined): Buffer {
  if (text === undefined) return Buffer.alloc(0);
  const value = Buffer.from(text);
  const head = Buffer.from([type, 0, 0]);
  head.writeUInt16BE(value.length, 1);
  return Buffer.concat([head, value]);
}
