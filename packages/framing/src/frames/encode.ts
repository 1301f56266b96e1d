import { encodeHeader, type FrameType, HEADER_BYTES } from "@cluster-connect/protocol";

/** A frame on its way out: its payload is the parts one after another. */
export interface OutgoingFrame {
  readonly type: FrameType;
  readonly streamId: number;
  readonly parts: readonly Uint8Array[];
}

export function payloadBytes(parts: readonly Uint8Array[]): number {
  let length = 0;
  for (const part of parts) length += part.length;
  return length;
}

/** The 12 header bytes of a frame. */
export function frameHeader(type: FrameType, streamId: number, length: number): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES);
  encodeHeader(bytes, 0, { type, streamId, length });
  return bytes;
}

/** Whole frame as one array; for handshakes, tests and recordings. */
export function encodeFrame(frame: OutgoingFrame): Uint8Array {
  const length = payloadBytes(frame.parts);
  const bytes = new Uint8Array(HEADER_BYTES + length);
  encodeHeader(bytes, 0, { type: frame.type, streamId: frame.streamId, length });
  let offset = HEADER_BYTES;
  for (const part of frame.parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes;
}
