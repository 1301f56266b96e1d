import { ConnectError } from "./errors.ts";
import { parseStreamId, type StreamId } from "./ids.ts";
import { HEADER_BYTES, MAX_PAYLOAD_BYTES } from "./limits.ts";
import { FRAME_VERSION } from "./version.ts";

/** Frame types by name; the numbers are the wire's and never change. */
export type FrameType =
  | "HELLO"
  | "READY"
  | "PING"
  | "PONG"
  | "GOAWAY"
  | "HOPACK"
  | "RELAYS"
  | "OPEN"
  | "ACCEPT"
  | "REJECT"
  | "RESUME"
  | "RESUMED"
  | "DATA"
  | "WINDOW"
  | "FIN"
  | "RESET";

/** @see docs/protocol.md#frame-types */
export const FRAME_TYPE_NUMBERS: Readonly<Record<FrameType, number>> = {
  HELLO: 0x01,
  READY: 0x02,
  PING: 0x03,
  PONG: 0x04,
  GOAWAY: 0x05,
  HOPACK: 0x06,
  RELAYS: 0x07,
  OPEN: 0x10,
  ACCEPT: 0x11,
  REJECT: 0x12,
  RESUME: 0x13,
  RESUMED: 0x14,
  DATA: 0x20,
  WINDOW: 0x21,
  FIN: 0x22,
  RESET: 0x23,
};

const TYPE_BY_NUMBER: ReadonlyArray<FrameType | undefined> = Object.entries(FRAME_TYPE_NUMBERS).reduce<
  Array<FrameType | undefined>
>((table, [name, number]) => {
  table[number] = name as FrameType;
  return table;
}, []);

/** Set on a frame whose type a receiver may skip when it does not know it; how later minors add frames. */
export const FLAG_OPTIONAL = 0x8000;

/** A decoded header. `type` is undefined for an unknown frame that carries {@link FLAG_OPTIONAL}: skip its payload. */
export interface FrameHeader {
  readonly type: FrameType | undefined;
  readonly flags: number;
  readonly streamId: StreamId;
  /** Payload length, 0 to `MAX_PAYLOAD_BYTES`. */
  readonly length: number;
}

/** A peer that does not know them goes on without. */
const OPTIONAL_FRAMES: ReadonlySet<FrameType> = new Set(["RELAYS"]);
const SESSION_FRAMES: ReadonlySet<FrameType> = new Set([
  "HELLO",
  "READY",
  "PING",
  "PONG",
  "GOAWAY",
  "HOPACK",
  "RELAYS",
]);

/**
 * Reads a frame header.
 *
 * @param bytes at least 12 bytes from `offset`: version u8, type u8, flags u16, stream id u32, length u32; big endian.
 * @throws ConnectError `CC_FRAME_INVALID` on an unknown version, an unknown type without the optional flag, a length
 *   above `MAX_PAYLOAD_BYTES`, or a stream id that the type does not take.
 * @see docs/protocol.md#frame-header
 */
export function decodeHeader(bytes: Uint8Array, offset = 0): FrameHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, HEADER_BYTES);
  const version = view.getUint8(0);
  if (version !== FRAME_VERSION) throw new ConnectError("CC_FRAME_INVALID", `Frame version ${version} is unknown`);
  const number = view.getUint8(1);
  const flags = view.getUint16(2);
  const type = TYPE_BY_NUMBER[number];
  if (type === undefined && (flags & FLAG_OPTIONAL) === 0) {
    throw new ConnectError("CC_FRAME_INVALID", `Frame type ${number} is unknown`);
  }
  const id = view.getUint32(4);
  if (id > 0x7fff_ffff) throw new ConnectError("CC_FRAME_INVALID", "The stream id is out of range");
  if (type !== undefined && SESSION_FRAMES.has(type) !== (id === 0)) {
    throw new ConnectError("CC_FRAME_INVALID", `${type} does not go with stream ${id}`);
  }
  const length = view.getUint32(8);
  if (length > MAX_PAYLOAD_BYTES)
    throw new ConnectError("CC_FRAME_INVALID", `A payload of ${length} bytes is too long`);
  return { type, flags, streamId: parseStreamId(id), length };
}

/** Writes a frame header into `bytes` at `offset`; the mirror of {@link decodeHeader}. */
export function encodeHeader(
  bytes: Uint8Array,
  offset: number,
  header: { readonly type: FrameType; readonly flags?: number; readonly streamId: number; readonly length: number },
): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, HEADER_BYTES);
  view.setUint8(0, FRAME_VERSION);
  view.setUint8(1, FRAME_TYPE_NUMBERS[header.type]);
  view.setUint16(2, header.flags ?? (OPTIONAL_FRAMES.has(header.type) ? FLAG_OPTIONAL : 0));
  view.setUint32(4, header.streamId);
  view.setUint32(8, header.length);
}
