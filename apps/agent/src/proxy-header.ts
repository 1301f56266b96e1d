import { isIPv4, isIPv6 } from "node:net";

/** What the auth proxy is told about a stream before its first byte. */
export interface StreamOrigin {
  /** The caller's address as the relay saw it, without a port. */
  readonly address?: string | undefined;
  readonly sessionId?: string | undefined;
  readonly correlationId?: string | undefined;
  /** The username as the relay verified it; for logs, not for decisions. */
  readonly username?: string | undefined;
  /** Of the span that the auth proxy's spans belong under. */
  readonly traceparent?: string | undefined;
}

const SIGNATURE = Buffer.from("0d0a0d0a000d0a515549540a", "hex");
const VERSION_2_LOCAL = 0x20;
const VERSION_2_PROXY = 0x21;
const UNSPEC = 0x00;
const TCP4 = 0x11;
const TCP6 = 0x21;

const TLV_SESSION_ID = 0xe0;
const TLV_CORRELATION_ID = 0xe1;
const TLV_USERNAME = 0xe2;
const TLV_TRACEPARENT = 0xe3;

/**
 * Writes a PROXY protocol v2 header: command PROXY with the caller's address and port 0, the unspecified address as
 * destination, or LOCAL where no address is known; then one TLV for each thing that is known.
 *
 * @see docs/protocol.md#agent-and-auth-proxy
 */
export function encodeProxyHeader(origin: StreamOrigin): Uint8Array {
  const { family, addresses } = addressBlock(origin.address);
  const body = Buffer.concat([
    addresses,
    tlv(TLV_SESSION_ID, origin.sessionId),
    tlv(TLV_CORRELATION_ID, origin.correlationId),
    tlv(TLV_USERNAME, origin.username),
    tlv(TLV_TRACEPARENT, origin.traceparent),
  ]);
  const head = Buffer.alloc(4);
  head.writeUInt8(family === UNSPEC ? VERSION_2_LOCAL : VERSION_2_PROXY, 0);
  head.writeUInt8(family, 1);
  head.writeUInt16BE(body.length, 2);
  return Buffer.concat([SIGNATURE, head, body]);
}

function addressBlock(address: string | undefined): { readonly family: number; readonly addresses: Buffer } {
  if (address !== undefined && isIPv4(address)) {
    const addresses = Buffer.alloc(12);
    addresses.set(address.split(".").map(Number), 0);
    return { family: TCP4, addresses };
  }
  if (address !== undefined && isIPv6(address)) {
    const addresses = Buffer.alloc(36);
    writeIPv6(addresses, address);
    return { family: TCP6, addresses };
  }
  return { family: UNSPEC, addresses: Buffer.alloc(0) };
}

/** Any spelling of an IPv6 address; a zone (`%eth0`) means nothing on another machine and is dropped. */
function writeIPv6(target: Buffer, address: string): void {
  const [head = "", tail] = (address.split("%", 1)[0] ?? "").split("::", 2);
  const left = groupsOf(head);
  const right = groupsOf(tail ?? "");
  const groups = [...left, ...new Array<number>(8 - left.length - right.length).fill(0), ...right];
  for (const [index, group] of groups.entries()) target.writeUInt16BE(group, index * 2);
}

function groupsOf(text: string): readonly number[] {
  if (text === "") return [];
  return text.split(":").flatMap((part) => {
    if (!part.includes(".")) return [Number.parseInt(part, 16)];
    const [a = 0, b = 0, c = 0, d = 0] = part.split(".").map(Number);
    return [a * 256 + b, c * 256 + d];
  });
}

function tlv(type: number, text: string | undefined): Buffer {
  if (text === undefined) return Buffer.alloc(0);
  const value = Buffer.from(text, "utf8");
  const head = Buffer.alloc(3);
  head.writeUInt8(type, 0);
  head.writeUInt16BE(value.length, 1);
  return Buffer.concat([head, value]);
}
