import { ConnectError } from "@cluster-connect/protocol";
import { MAX_PROXY_HEADER_BYTES } from "./limits.ts";

/** What the agent says about a stream before its first byte; for logs and extras, not for decisions. */
export interface StreamOrigin {
  /** The caller's address as the relay saw it. */
  readonly address?: string;
  readonly sessionId?: string;
  readonly correlationId?: string;
  /** The username as the relay knows it. */
  readonly relayUsername?: string;
  /** Of the span that asked. */
  readonly traceparent?: string;
}

/** A whole header, or how many bytes it takes to go on. */
export type ProxyHeader =
  | { readonly kind: "incomplete" }
  | { readonly kind: "complete"; readonly origin: StreamOrigin; readonly headerBytes: number };

const SIGNATURE = Buffer.from("0d0a0d0a000d0a515549540a", "hex");
const FIXED_BYTES = 16;
const VERSION_2_LOCAL = 0x20;
const VERSION_2_PROXY = 0x21;
/** Bytes of the address block by address family (upper four bits): unspecified, IPv4, IPv6. */
const ADDRESS_BYTES: ReadonlyMap<number, number> = new Map([
  [0, 0],
  [1, 12],
  [2, 36],
]);
const TLV_FIELDS: ReadonlyMap<number, "sessionId" | "correlationId" | "relayUsername" | "traceparent"> = new Map([
  [0xe0, "sessionId"],
  [0xe1, "correlationId"],
  [0xe2, "relayUsername"],
  [0xe3, "traceparent"],
]);
const ID = /^[\x21-\x7e]{1,128}$/;

/**
 * Reads a PROXY protocol v2 header: signature 12, version and command u8, family u8, length u16, addresses, TLVs.
 *
 * @throws ConnectError `CC_REQUEST_REFUSED` when the bytes cannot become such a header.
 * @see docs/protocol.md#agent-and-auth-proxy
 */
export function parseProxyHeader(bytes: Buffer): ProxyHeader {
  const seen = Math.min(bytes.length, SIGNATURE.length);
  if (!bytes.subarray(0, seen).equals(SIGNATURE.subarray(0, seen))) throw refused("it does not begin with one");
  if (bytes.length < FIXED_BYTES) return { kind: "incomplete" };
  const command = bytes.readUInt8(12);
  if (command !== VERSION_2_LOCAL && command !== VERSION_2_PROXY) throw refused("its version or command is unknown");
  const headerBytes = FIXED_BYTES + bytes.readUInt16BE(14);
  if (headerBytes > MAX_PROXY_HEADER_BYTES) throw refused(`it is longer than ${MAX_PROXY_HEADER_BYTES} bytes`);
  if (bytes.length < headerBytes) return { kind: "incomplete" };
  const family = bytes.readUInt8(13) >> 4;
  const addressBytes = ADDRESS_BYTES.get(family);
  const body = bytes.subarray(FIXED_BYTES, headerBytes);
  if (addressBytes === undefined || body.length < addressBytes) throw refused("its address is malformed");
  const address = command === VERSION_2_PROXY ? addressText(body.subarray(0, addressBytes)) : undefined;
  const origin = { ...(address === undefined ? {} : { address }), ...readTlvs(body.subarray(addressBytes)) };
  return { kind: "complete", origin, headerBytes };
}

function readTlvs(bytes: Buffer): StreamOrigin {
  const origin: { -readonly [K in keyof StreamOrigin]: StreamOrigin[K] } = {};
  let rest = bytes;
  while (rest.length > 0) {
    if (rest.length < 3) throw refused("one of its fields is cut off");
    const end = 3 + rest.readUInt16BE(1);
    if (rest.length < end) throw refused("one of its fields is cut off");
    const field = TLV_FIELDS.get(rest.readUInt8(0));
    if (field !== undefined) origin[field] = fieldText(field, rest.subarray(3, end));
    rest = rest.subarray(end);
  }
  return origin;
}

function fieldText(field: keyof StreamOrigin, value: Buffer): string {
  const text = value.toString("utf8");
  if (field === "relayUsername" || field === "traceparent") return text;
  if (!ID.test(text)) throw refused(`its ${field} is not printable ASCII`);
  return text;
}

function addressText(block: Buffer): string | undefined {
  if (block.length === 12) return block.subarray(0, 4).join(".");
  if (block.length !== 36) return undefined;
  const groups: string[] = [];
  for (let index = 0; index < 16; index += 2) groups.push(block.readUInt16BE(index).toString(16));
  return groups.join(":");
}

function refused(reason: string): ConnectError {
  return new ConnectError("CC_REQUEST_REFUSED", `The stream has no PROXY header as the agent writes it: ${reason}`);
}
