import { MAX_MESSAGE_BYTES } from "@cluster-connect/protocol";
import { CLOSE_NOT_BINARY, CLOSE_PROTOCOL, CLOSE_TOO_BIG } from "../channel.ts";
import { applyMask } from "./mask.ts";

/** The opcodes of RFC 6455 that are in use here. */
export const OPCODE = { continuation: 0x0, text: 0x1, binary: 0x2, close: 0x8, ping: 0x9, pong: 0xa } as const;

const FIN = 0x80;
const RESERVED = 0x70;
const MASKED = 0x80;
/** Longest payload of a ping, a pong or a close. */
export const MAX_CONTROL_BYTES = 125;
/** A message is at most one large frame of ours: no sender has a reason to cut it finer. */
const MAX_FRAGMENTS = 128;
const MAX_HEADER_BYTES = 14;

/** Findings of a reader. */
export interface WireEvents {
  /** The next bytes of the peer's messages, in order, true during the call; where a message ends does not matter. */
  bytes(piece: Uint8Array): void;
  /** @param payload is true during the call only. */
  ping(payload: Uint8Array): void;
  /** The peer closes; nothing after it is read. */
  close(code: number, reason: string): void;
}

/** Reads WebSocket frames from a socket, without joining what came in pieces. */
export interface WireReader {
  /**
   * @param chunk is unmasked in place, and handed on in parts; nothing of it is kept.
   * @returns the close code for a peer that broke the rules; nothing more is read then.
   */
  push(chunk: Uint8Array): number | undefined;
}

/** @param masked whether the peer must mask, as a dialer does; it must not otherwise. */
export function createWireReader(masked: boolean, events: WireEvents): WireReader {
  const header = new Uint8Array(MAX_HEADER_BYTES);
  let headerFilled = 0;
  let headerNeeded = 2;
  // The frame that is being read; none while a header is.
  let opcode = -1;
  let remaining = 0;
  const key = new Uint8Array(4);
  let keyIsZero = true;
  let keyOffset = 0;
  const control = Buffer.alloc(MAX_CONTROL_BYTES);
  let controlFilled = 0;
  // The message that is being read.
  let inMessage = false;
  let messageBytes = 0;
  let fragments = 0;
  let over = false;

  function judgeFirstBytes(first: number, second: number): number | undefined {
    const length = second & 0x7f;
    const code = first & 0x0f;
    if ((first & RESERVED) !== 0 || ((second & MASKED) !== 0) !== masked) return CLOSE_PROTOCOL;
    if (code >= OPCODE.close) {
      const known = code <= OPCODE.pong;
      if (!known || (first & FIN) === 0 || length > MAX_CONTROL_BYTES) return CLOSE_PROTOCOL;
    } else if (code === OPCODE.text) {
      return CLOSE_NOT_BINARY;
    } else if (code > OPCODE.binary || (code === OPCODE.continuation) !== inMessage) {
      return CLOSE_PROTOCOL;
    }
    headerNeeded = 2 + (length === 126 ? 2 : length === 127 ? 8 : 0) + (masked ? 4 : 0);
    return undefined;
  }

  function beginFrame(): number | undefined {
    const view = new DataView(header.buffer);
    const first = view.getUint8(0);
    const short = view.getUint8(1) & 0x7f;
    let offset = 2;
    let length = short;
    if (short === 126) {
      length = view.getUint16(2);
      offset = 4;
    } else if (short === 127) {
      length = view.getUint32(2) * 0x1_0000_0000 + view.getUint32(6);
      offset = 10;
    }
    if (masked) key.set(header.subarray(offset, offset + 4));
    keyIsZero = !masked || (key[0] === 0 && key[1] === 0 && key[2] === 0 && key[3] === 0);
    keyOffset = 0;
    headerFilled = 0;
    headerNeeded = 2;
    opcode = first & 0x0f;
    remaining = length;
    if (opcode >= OPCODE.close) {
      controlFilled = 0;
      return undefined;
    }
    if (!inMessage) {
      messageBytes = 0;
      fragments = 0;
    }
    inMessage = (first & FIN) === 0;
    messageBytes += length;
    fragments += 1;
    return messageBytes > MAX_MESSAGE_BYTES || fragments > MAX_FRAGMENTS ? CLOSE_TOO_BIG : undefined;
  }

  function unmask(piece: Uint8Array): void {
    if (keyIsZero) return;
    applyMask(piece, key, keyOffset);
    keyOffset = (keyOffset + piece.length) & 3;
  }

  function endControl(): number | undefined {
    const payload = control.subarray(0, controlFilled);
    if (opcode === OPCODE.ping) events.ping(payload);
    if (opcode !== OPCODE.close) return undefined;
    over = true;
    if (payload.length === 1) return CLOSE_PROTOCOL;
    if (payload.length === 0) events.close(1005, "");
    else events.close(payload.readUInt16BE(0), payload.toString("utf8", 2));
    return undefined;
  }

  /** Reads what belongs to the frame at hand; returns the new position. */
  function readPayload(chunk: Uint8Array, position: number): number {
    const piece = chunk.subarray(position, position + remaining);
    unmask(piece);
    remaining -= piece.length;
    if (opcode >= OPCODE.close) {
      control.set(piece, controlFilled);
      controlFilled += piece.length;
    } else if (piece.length > 0) events.bytes(piece);
    return position + piece.length;
  }

  function fail(code: number): number {
    over = true;
    return code;
  }

  return {
    push(chunk) {
      let position = 0;
      while (!over) {
        if (opcode >= 0) {
          position = readPayload(chunk, position);
          if (remaining > 0) return undefined;
          const failed = opcode >= OPCODE.close ? endControl() : undefined;
          if (failed !== undefined) return fail(failed);
          opcode = -1;
          continue;
        }
        if (position === chunk.length) return undefined;
        const part = chunk.subarray(position, position + headerNeeded - headerFilled);
        header.set(part, headerFilled);
        headerFilled += part.length;
        position += part.length;
        if (headerFilled < headerNeeded) return undefined;
        const failed = headerNeeded === 2 ? judgeFirstBytes(header[0] ?? 0, header[1] ?? 0) : undefined;
        if (failed !== undefined) return fail(failed);
        if (headerFilled < headerNeeded) continue;
        const refused = beginFrame();
        if (refused !== undefined) return fail(refused);
      }
      return undefined;
    },
  };
}

/** Header of a frame that is a whole message. */
export function wireHeader(opcode: number, length: number, key?: Uint8Array): Uint8Array {
  const lengthBytes = length < 126 ? 0 : length < 65_536 ? 2 : 8;
  const bytes = new Uint8Array(2 + lengthBytes + (key === undefined ? 0 : 4));
  const view = new DataView(bytes.buffer);
  bytes[0] = FIN | opcode;
  bytes[1] = (lengthBytes === 0 ? length : lengthBytes === 2 ? 126 : 127) | (key === undefined ? 0 : MASKED);
  if (lengthBytes === 2) view.setUint16(2, length);
  if (lengthBytes === 8) view.setUint32(6, length);
  if (key !== undefined) bytes.set(key, bytes.length - 4);
  return bytes;
}
