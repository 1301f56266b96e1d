import { decodeHeader, type FrameHeader, type FrameType, HEADER_BYTES, type StreamId } from "@cluster-connect/protocol";

/**
 * A frame as it came; of DATA, possibly a part. Its bytes are handed on as they come, never joined, and true only until
 * the next call of the decoder. Other payloads have memory of their own.
 */
export interface Frame {
  readonly type: FrameType;
  readonly streamId: StreamId;
  readonly payload: Uint8Array;
}

/** Cuts a sequence of messages into frames, however they were split or joined. */
export interface Decoder {
  /**
   * Takes the next message. Frames are read by {@link next} before another message is pushed.
   */
  push(bytes: Uint8Array): void;
  /** Copies what is left of the message: it will not be true any longer. */
  keep(): void;
  /**
   * The next frame, or part of DATA; undefined when more bytes are needed. Unknown optional frames are skipped.
   *
   * @throws ConnectError `CC_FRAME_INVALID`; the decoder is of no use afterwards.
   */
  next(): Frame | undefined;
}

const EMPTY = new Uint8Array(0);

export function createDecoder(): Decoder {
  let input: Uint8Array = EMPTY;
  let position = 0;
  let header: FrameHeader | undefined;
  const partialHeader = new Uint8Array(HEADER_BYTES);
  let headerFilled = 0;
  let partial: Uint8Array | undefined;
  let partialFilled = 0;
  let dataRead = 0;

  function readHeader(): FrameHeader | undefined {
    const available = input.length - position;
    if (headerFilled === 0 && available >= HEADER_BYTES) {
      const found = decodeHeader(input, position);
      position += HEADER_BYTES;
      return found;
    }
    const count = Math.min(HEADER_BYTES - headerFilled, available);
    partialHeader.set(input.subarray(position, position + count), headerFilled);
    headerFilled += count;
    position += count;
    if (headerFilled < HEADER_BYTES) return undefined;
    headerFilled = 0;
    return decodeHeader(partialHeader);
  }

  function readPayload(length: number): Uint8Array | undefined {
    if (partial === undefined) {
      partial = new Uint8Array(length);
      partialFilled = 0;
    }
    const count = Math.min(length - partialFilled, input.length - position);
    partial.set(input.subarray(position, position + count), partialFilled);
    partialFilled += count;
    position += count;
    if (partialFilled < length) return undefined;
    const payload = partial;
    partial = undefined;
    return payload;
  }

  /** As much of a DATA frame as is there. */
  function readData(frame: FrameHeader): Frame | undefined {
    const payload = input.subarray(position, position + frame.length - dataRead);
    if (payload.length === 0 && frame.length > 0) return undefined;
    position += payload.length;
    dataRead += payload.length;
    if (dataRead === frame.length) {
      header = undefined;
      dataRead = 0;
    }
    return { type: "DATA", streamId: frame.streamId, payload };
  }

  return {
    push(bytes) {
      input = bytes;
      position = 0;
    },
    keep() {
      if (position < input.length) input = new Uint8Array(input.subarray(position));
      else input = EMPTY;
      position = 0;
    },
    next() {
      for (;;) {
        header ??= readHeader();
        if (header === undefined) return undefined;
        if (header.type === "DATA") return readData(header);
        const payload = readPayload(header.length);
        if (payload === undefined) return undefined;
        const { type, streamId } = header;
        header = undefined;
        if (type !== undefined) return { type, streamId, payload };
      }
    },
  };
}
