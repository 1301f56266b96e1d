import type { FrameTracker } from "./frame-tracker.ts";

const CLOSE_HEAD = 0x88;
const POLICY_VIOLATION = 1_008;
const MAX_REASON_BYTES = 123;
const FINAL = 0x80;
const MASKED = 0x80;
const OPCODE = 0x0f;
/** Opcodes from here on are control frames, which may stand between the frames of one message. */
const CONTROL = 0x08;

/** @see RFC 6455, section 5.2: final and opcode u8, mask and length u7, length u16 or u64, mask key u32, payload. */
export function createWebSocketTracker(): FrameTracker {
  let head: number[] = [];
  let payloadLeft = 0n;
  let inMessage = false;

  function readHead(byte: number): void {
    head.push(byte);
    const [first = 0, second = 0] = head;
    if (head.length < 2) return;
    const short = second & ~MASKED;
    const lengthBytes = short === 126 ? 2 : short === 127 ? 8 : 0;
    const keyBytes = (second & MASKED) === 0 ? 0 : 4;
    if (head.length < 2 + lengthBytes + keyBytes) return;
    const extended = head.slice(2, 2 + lengthBytes).reduce((length, next) => (length << 8n) | BigInt(next), 0n);
    payloadLeft = lengthBytes === 0 ? BigInt(short) : extended;
    if ((first & OPCODE) < CONTROL) inMessage = (first & FINAL) === 0;
    head = [];
  }

  const atBoundary = (): boolean => head.length === 0 && payloadLeft === 0n && !inMessage;

  return {
    atBoundary,
    push(bytes, options = {}) {
      let index = 0;
      while (index < bytes.length) {
        if (options.toBoundary && atBoundary()) return index;
        if (payloadLeft > 0n) {
          const left = bytes.length - index;
          const taken = payloadLeft < BigInt(left) ? Number(payloadLeft) : left;
          payloadLeft -= BigInt(taken);
          index += taken;
        } else {
          readHead(bytes[index] ?? 0);
          index += 1;
        }
      }
      return index;
    },
  };
}

/** A close frame that says why, as a server sends it: code 1008, the reason cut to a control frame's size. */
export function closeFrame(reason: string): Buffer {
  const text = Buffer.alloc(MAX_REASON_BYTES);
  // Never ends within a character.
  const { written } = new TextEncoder().encodeInto(reason, text);
  const payload = Buffer.alloc(2 + written);
  payload.writeUInt16BE(POLICY_VIOLATION, 0);
  payload.set(text.subarray(0, written), 2);
  return Buffer.concat([Buffer.from([CLOSE_HEAD, payload.length]), payload]);
}
