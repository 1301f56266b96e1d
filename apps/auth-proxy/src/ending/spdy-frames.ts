import type { FrameTracker } from "./frame-tracker.ts";

const HEAD_BYTES = 8;
const FLAG_FIN = 0x01;
const MAX_PAYLOAD_BYTES = 0xff_ff_ff;

/** @see SPDY/3.1, section 2.2: control frame and data frame both have 4 bytes, flags u8, length u24, then the payload. */
export function createSpdyTracker(): FrameTracker {
  let head: number[] = [];
  let payloadLeft = 0;
  const atBoundary = (): boolean => head.length === 0 && payloadLeft === 0;

  return {
    atBoundary,
    push(bytes, options = {}) {
      let index = 0;
      while (index < bytes.length) {
        if (options.toBoundary && atBoundary()) return index;
        if (payloadLeft > 0) {
          const taken = Math.min(payloadLeft, bytes.length - index);
          payloadLeft -= taken;
          index += taken;
        } else {
          head.push(bytes[index] ?? 0);
          index += 1;
          if (head.length === HEAD_BYTES) {
            payloadLeft = head.slice(5).reduce((length, next) => length * 256 + next, 0);
            head = [];
          }
        }
      }
      return index;
    },
  };
}

/** The last data frame of a stream. */
export function lastDataFrame(streamId: number, payload: Uint8Array): Buffer {
  const body = payload.subarray(0, MAX_PAYLOAD_BYTES);
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUInt32BE(streamId, 0);
  head.writeUInt8(FLAG_FIN, 4);
  head.writeUIntBE(body.length, 5, 3);
  return Buffer.concat([head, body]);
}
