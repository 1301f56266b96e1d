import { codeOfWire, WIRE_OK, wireOf } from "./codes.ts";
import { ConnectError, type ErrorCode } from "./errors.ts";
import { parseStreamId, type StreamId } from "./ids.ts";
import { MAX_TEXT_BYTES } from "./limits.ts";

const UTF8 = new TextEncoder();
const STRICT_UTF8 = new TextDecoder("utf-8", { fatal: true });

/** WINDOW: everything below `consumed` was taken by the consumer; the sender may send up to `consumed + windowBytes`. */
export interface WindowPayload {
  readonly consumed: number;
  readonly windowBytes: number;
}
/** HOPACK: DATA bytes received on this hop so far; `everyBytes` asks the peer to acknowledge mine that often, 0 keeps. */
export interface HopAckPayload {
  readonly received: number;
  readonly everyBytes: number;
}
/** RESET and REJECT: why, in a code and one line of text without secrets. */
export interface EndPayload {
  readonly code: ErrorCode | undefined;
  readonly retryAfterMs: number;
  readonly text: string;
}
/** GOAWAY: streams of the receiver above `lastStreamId` were not taken; `deadlineMs` until the channel closes. */
export interface GoawayPayload extends EndPayload {
  readonly lastStreamId: StreamId;
  readonly deadlineMs: number;
}

/** 8 bytes: an offset or a counter, u64 big endian, below 2^53. */
export function encodeU64(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  writeU64(new DataView(bytes.buffer), 0, value);
  return bytes;
}

/** @throws ConnectError `CC_FRAME_INVALID` unless there are 8 bytes and the value is below 2^53. */
export function decodeU64(bytes: Uint8Array): number {
  return readU64(exactly(bytes, 8, "number"), 0);
}

/** 12 bytes: consumed u64, window u32. */
export function encodeWindow(payload: WindowPayload): Uint8Array {
  const bytes = new Uint8Array(12);
  const view = new DataView(bytes.buffer);
  writeU64(view, 0, payload.consumed);
  view.setUint32(8, payload.windowBytes);
  return bytes;
}

/** @throws ConnectError `CC_FRAME_INVALID` unless there are 12 bytes. */
export function decodeWindow(bytes: Uint8Array): WindowPayload {
  const view = exactly(bytes, 12, "WINDOW");
  return { consumed: readU64(view, 0), windowBytes: view.getUint32(8) };
}

/** 12 bytes: received u64, every u32. */
export function encodeHopAck(payload: HopAckPayload): Uint8Array {
  return encodeWindow({ consumed: payload.received, windowBytes: payload.everyBytes });
}

/** @throws ConnectError `CC_FRAME_INVALID` unless there are 12 bytes. */
export function decodeHopAck(bytes: Uint8Array): HopAckPayload {
  const view = exactly(bytes, 12, "HOPACK");
  return { received: readU64(view, 0), everyBytes: view.getUint32(8) };
}

/** 4 bytes: how many relays take streams under the name that was dialed, u32. */
export function encodeRelays(liveRelays: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, liveRelays);
  return bytes;
}

/** @throws ConnectError `CC_FRAME_INVALID` unless there are 4 bytes. */
export function decodeRelays(bytes: Uint8Array): number {
  return exactly(bytes, 4, "RELAYS").getUint32(0);
}

/** 6 bytes and text: code u16, retry-after u32 (milliseconds), UTF-8. Text is cut to `MAX_TEXT_BYTES`. */
export function encodeEnd(payload: { code?: ErrorCode | undefined; retryAfterMs?: number; text?: string }): Uint8Array {
  const text = cutText(payload.text ?? "");
  const bytes = new Uint8Array(6 + text.length);
  writeEnd(new DataView(bytes.buffer), 0, payload);
  bytes.set(text, 6);
  return bytes;
}

/** @throws ConnectError `CC_FRAME_INVALID` on fewer than 6 bytes, too long a text or broken UTF-8. */
export function decodeEnd(bytes: Uint8Array): EndPayload {
  return readEnd(bytes, 0);
}

/** 14 bytes and text: last stream id u32, deadline u32 (milliseconds), then as {@link encodeEnd}. */
export function encodeGoaway(payload: {
  lastStreamId: number;
  deadlineMs: number;
  code?: ErrorCode | undefined;
  retryAfterMs?: number;
  text?: string;
}): Uint8Array {
  const text = cutText(payload.text ?? "");
  const bytes = new Uint8Array(14 + text.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, payload.lastStreamId);
  view.setUint32(4, payload.deadlineMs);
  writeEnd(view, 8, payload);
  bytes.set(text, 14);
  return bytes;
}

/** @throws ConnectError `CC_FRAME_INVALID` on fewer than 14 bytes, too long a text or broken UTF-8. */
export function decodeGoaway(bytes: Uint8Array): GoawayPayload {
  const end = readEnd(bytes, 8);
  const view = viewOf(bytes);
  const id = view.getUint32(0);
  if (id > 0x7fff_ffff) throw new ConnectError("CC_FRAME_INVALID", "The stream id in GOAWAY is out of range");
  return { ...end, lastStreamId: parseStreamId(id), deadlineMs: view.getUint32(4) };
}

function writeEnd(view: DataView, offset: number, end: { code?: ErrorCode | undefined; retryAfterMs?: number }): void {
  view.setUint16(offset, end.code === undefined ? WIRE_OK : wireOf(end.code));
  view.setUint32(offset + 2, end.retryAfterMs ?? 0);
}

function readEnd(bytes: Uint8Array, offset: number): EndPayload {
  const textStart = offset + 6;
  if (bytes.length < textStart || bytes.length > textStart + MAX_TEXT_BYTES) {
    throw new ConnectError("CC_FRAME_INVALID", `An end of ${bytes.length} bytes has the wrong length`);
  }
  const view = viewOf(bytes);
  const wire = view.getUint16(offset);
  const code = wire === WIRE_OK ? undefined : codeOfWire(wire);
  return { code, retryAfterMs: view.getUint32(offset + 2), text: readText(bytes.subarray(textStart)) };
}

function readText(bytes: Uint8Array): string {
  try {
    return STRICT_UTF8.decode(bytes);
  } catch (cause) {
    throw new ConnectError("CC_FRAME_INVALID", "The text of a frame is not UTF-8", { cause });
  }
}

function cutText(text: string): Uint8Array {
  const bytes = new Uint8Array(MAX_TEXT_BYTES);
  return bytes.subarray(0, UTF8.encodeInto(text, bytes).written);
}

function writeU64(view: DataView, offset: number, value: number): void {
  view.setUint32(offset, Math.floor(value / 0x1_0000_0000));
  view.setUint32(offset + 4, value % 0x1_0000_0000);
}

function readU64(view: DataView, offset: number): number {
  const value = view.getUint32(offset) * 0x1_0000_0000 + view.getUint32(offset + 4);
  if (!Number.isSafeInteger(value)) throw new ConnectError("CC_FRAME_INVALID", "A number is 2^53 or more");
  return value;
}

function exactly(bytes: Uint8Array, length: number, what: string): DataView {
  if (bytes.length !== length) {
    throw new ConnectError("CC_FRAME_INVALID", `${what} takes ${length} bytes, not ${bytes.length}`);
  }
  return viewOf(bytes);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
