import { isIPv4, isIPv6 } from "node:net";
import { ConnectError } from "./errors.ts";
import { MAX_PROXY_HEADER_BYTES } from "./limits.ts";

/** The origin of a stream, which the agent sends the auth proxy before its first byte; for logs and limits only. */
export interface StreamOrigin {
  /** The caller's address as the relay saw it, without a port. */
  readonly address?: string | undefined;
  readonly sessionId?: string | undefined;
  readonly correlationId?: string | undefined;
  /** The username as the relay verified it. */
  readonly username?: string | undefined;
  /** Of the span that the auth proxy's spans belong under. */
  readonly traceparent?: string | undefined;
}

/** A whole header, the need for more bytes, or a question whose answer is to close. */
export type DecodedProxyHeader =
  | { readonly kind: "incomplete" }
  | { readonly kind: "question" }
  | { readonly kind: "complete"; readonly origin: StreamOrigin; readonly headerBytes: number };

const UTF8 = new TextEncoder();
const STRICT_UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const SIGNATURE = Uint8Array.of(0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a);
const FIXED_BYTES = 16;
const VERSION_2_LOCAL = 0x20;
const VERSION_2_PROXY = 0x21;

/** Address family and transport, and the bytes of the source address and of the whole block. */
interface AddressKind {
  readonly family: number;
  readonly sourceBytes: number;
  readonly blockBytes: number;
}
const UNSPEC: AddressKind = { family: 0x00, sourceBytes: 0, blockBytes: 0 };
const TCP4: AddressKind = { family: 0x11, sourceBytes: 4, blockBytes: 12 };
const TCP6: AddressKind = { family: 0x21, sourceBytes: 16, blockBytes: 36 };
const ADDRESS_KINDS: readonly AddressKind[] = [UNSPEC, TCP4, TCP6];

type TextField = Exclude<keyof StreamOrigin, "address">;
const FIELD_TYPES: Readonly<Record<TextField, number>> = {
  sessionId: 0xe0,
  correlationId: 0xe1,
  username: 0xe2,
  traceparent: 0xe3,
};
const TEXT_FIELDS: readonly TextField[] = ["sessionId", "correlationId", "username", "traceparent"];
/** A TLV without a value. A reader that does not know it waits for a handshake, and closes once the writer has. */
const QUESTION_TYPE = 0xe4;
const ID = /^[\x21-\x7e]{1,128}$/;

/**
 * Writes a PROXY protocol v2 header. Its command is PROXY with the caller's address and port 0 and the unspecified
 * address as destination, or LOCAL where no address is known. One TLV for each known field follows.
 *
 * @throws ConnectError `CC_REQUEST_REFUSED` when that takes more than `MAX_PROXY_HEADER_BYTES`.
 * @see docs/protocol.md#agent-and-auth-proxy
 */
export function encodeProxyHeader(origin: StreamOrigin): Uint8Array {
  const source = sourceOf(origin.address);
  const fields = TEXT_FIELDS.flatMap((name) => {
    const text = origin[name];
    return text === undefined ? [] : [{ type: FIELD_TYPES[name], value: UTF8.encode(text) }];
  });
  const bodyBytes = fields.reduce((sum, { value }) => sum + 3 + value.length, source.kind.blockBytes);
  if (FIXED_BYTES + bodyBytes > MAX_PROXY_HEADER_BYTES) throw refusedHeader("it would be too long");
  const bytes = new Uint8Array(FIXED_BYTES + bodyBytes);
  const view = new DataView(bytes.buffer);
  bytes.set(SIGNATURE);
  view.setUint8(12, source.kind === UNSPEC ? VERSION_2_LOCAL : VERSION_2_PROXY);
  view.setUint8(13, source.kind.family);
  view.setUint16(14, bodyBytes);
  bytes.set(source.bytes, FIXED_BYTES);
  let offset = FIXED_BYTES + source.kind.blockBytes;
  for (const { type, value } of fields) {
    view.setUint8(offset, type);
    view.setUint16(offset + 1, value.length);
    bytes.set(value, offset + 3);
    offset += 3 + value.length;
  }
  return bytes;
}

/**
 * Writes the header that asks whether the auth proxy does anything: LOCAL with one TLV. The auth proxy closes.
 *
 * @see docs/protocol.md#agent-and-auth-proxy
 */
export function encodeProxyQuestion(): Uint8Array {
  return Uint8Array.of(...SIGNATURE, VERSION_2_LOCAL, UNSPEC.family, 0, 3, QUESTION_TYPE, 0, 0);
}

/**
 * Reads a PROXY protocol v2 header from the first bytes of a connection; TLVs of an unknown type are skipped.
 *
 * @throws ConnectError `CC_REQUEST_REFUSED` when the bytes cannot become such a header: another signature, version,
 *   command or family, more than `MAX_PROXY_HEADER_BYTES`, a part that is cut off, said twice or no such text.
 * @see docs/protocol.md#agent-and-auth-proxy
 */
export function decodeProxyHeader(bytes: Uint8Array): DecodedProxyHeader {
  const seen = Math.min(bytes.length, SIGNATURE.length);
  if (!SIGNATURE.subarray(0, seen).every((byte, index) => byte === bytes[index])) {
    throw refusedHeader("it does not begin with one");
  }
  if (bytes.length < FIXED_BYTES) return { kind: "incomplete" };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const command = view.getUint8(12);
  if (command !== VERSION_2_LOCAL && command !== VERSION_2_PROXY) {
    throw refusedHeader("its version or command is unknown");
  }
  const headerBytes = FIXED_BYTES + view.getUint16(14);
  if (headerBytes > MAX_PROXY_HEADER_BYTES) throw refusedHeader(`it is longer than ${MAX_PROXY_HEADER_BYTES} bytes`);
  if (bytes.length < headerBytes) return { kind: "incomplete" };
  const family = view.getUint8(13);
  const kind = ADDRESS_KINDS.find((known) => known.family === family);
  const body = bytes.subarray(FIXED_BYTES, headerBytes);
  if (kind === undefined || body.length < kind.blockBytes) throw refusedHeader("its address is malformed");
  const address = command === VERSION_2_PROXY ? addressText(kind, body) : undefined;
  const tlvs = body.subarray(kind.blockBytes);
  if (command === VERSION_2_LOCAL && tlvs[0] === QUESTION_TYPE) return { kind: "question" };
  const fields = readFields(tlvs);
  return { kind: "complete", origin: address === undefined ? fields : { address, ...fields }, headerBytes };
}

function readFields(bytes: Uint8Array): StreamOrigin {
  const origin: Partial<Record<TextField, string>> = {};
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let offset = 0;
  while (offset < bytes.length) {
    if (bytes.length < offset + 3) throw refusedHeader("one of its fields is cut off");
    const type = view.getUint8(offset);
    const end = offset + 3 + view.getUint16(offset + 1);
    if (bytes.length < end) throw refusedHeader("one of its fields is cut off");
    const name = TEXT_FIELDS.find((field) => FIELD_TYPES[field] === type);
    if (name !== undefined) {
      if (origin[name] !== undefined) throw refusedHeader(`it says ${name} twice`);
      origin[name] = fieldText(name, bytes.subarray(offset + 3, end));
    }
    offset = end;
  }
  return origin;
}

function fieldText(name: TextField, value: Uint8Array): string {
  const text = utf8Text(value);
  const isId = name === "sessionId" || name === "correlationId";
  if (text === undefined || (isId && !ID.test(text))) throw refusedHeader(`its ${name} is not text as it should be`);
  return text;
}

function utf8Text(value: Uint8Array): string | undefined {
  try {
    return STRICT_UTF8.decode(value);
  } catch {
    return undefined;
  }
}

/** The block that says an address as the source; a text that is none is left out. */
function sourceOf(address = ""): { readonly kind: AddressKind; readonly bytes: Uint8Array } {
  if (isIPv4(address)) return { kind: TCP4, bytes: Uint8Array.from(address.split("."), Number) };
  // A zone (`%eth0`) means nothing on another machine.
  const unzoned = address.split("%", 1)[0] ?? "";
  if (isIPv6(unzoned)) return { kind: TCP6, bytes: ipv6Bytes(unzoned) };
  return { kind: UNSPEC, bytes: new Uint8Array(0) };
}

/** @param address in any spelling; `URL` knows how to read each of them. */
function ipv6Bytes(address: string): Uint8Array {
  const [head = "", tail = ""] = canonicalIPv6(address).split("::", 2);
  const [left, right] = [groupsOf(head), groupsOf(tail)];
  const view = new DataView(new ArrayBuffer(TCP6.sourceBytes));
  for (const [index, group] of left.entries()) view.setUint16(index * 2, group);
  for (const [index, group] of right.entries()) view.setUint16((8 - right.length + index) * 2, group);
  return new Uint8Array(view.buffer);
}

function groupsOf(text: string): readonly number[] {
  return text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16));
}

/** The one spelling of RFC 5952, without dots. */
function canonicalIPv6(address: string): string {
  return new URL(`http://[${address}]`).hostname.slice(1, -1);
}

function addressText(kind: AddressKind, block: Uint8Array): string | undefined {
  if (kind === UNSPEC) return undefined;
  if (kind === TCP4) return block.subarray(0, kind.sourceBytes).join(".");
  const view = new DataView(block.buffer, block.byteOffset, kind.sourceBytes);
  const groups = Array.from({ length: 8 }, (_, index) => view.getUint16(index * 2).toString(16));
  return canonicalIPv6(groups.join(":"));
}

function refusedHeader(reason: string): ConnectError {
  return new ConnectError("CC_REQUEST_REFUSED", `The stream has no PROXY header as the agent writes it: ${reason}`);
}
