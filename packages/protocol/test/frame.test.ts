import fc from "fast-check";
import { expect, test } from "vitest";
import {
  decodeHeader,
  encodeHeader,
  FLAG_OPTIONAL,
  FRAME_TYPE_NUMBERS,
  type FrameType,
  HEADER_BYTES,
  MAX_PAYLOAD_BYTES,
} from "../src/index.ts";

const SESSION_TYPES: readonly FrameType[] = ["HELLO", "READY", "PING", "PONG", "GOAWAY", "HOPACK", "RELAYS"];
const TYPES = Object.keys(FRAME_TYPE_NUMBERS) as FrameType[];

function header(fields: { version?: number; type?: number; flags?: number; id?: number; length?: number }): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, fields.version ?? 1);
  view.setUint8(1, fields.type ?? FRAME_TYPE_NUMBERS.DATA);
  view.setUint16(2, fields.flags ?? 0);
  view.setUint32(4, fields.id ?? 1);
  view.setUint32(8, fields.length ?? 0);
  return bytes;
}

test("every header that can be written reads back the same, at any offset", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...TYPES),
      fc.integer({ min: 0, max: 0xffff }),
      fc.integer({ min: 1, max: 0x7fff_ffff }),
      fc.integer({ min: 0, max: MAX_PAYLOAD_BYTES }),
      fc.integer({ min: 0, max: 40 }),
      (type, flags, id, length, offset) => {
        const streamId = SESSION_TYPES.includes(type) ? 0 : id;
        const bytes = new Uint8Array(offset + HEADER_BYTES);
        encodeHeader(bytes, offset, { type, flags, streamId, length });
        expect(decodeHeader(bytes, offset)).toEqual({ type, flags, streamId, length });
      },
    ),
  );
});

test("any 12 bytes are a header or CC_FRAME_INVALID, never another error", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: HEADER_BYTES, maxLength: HEADER_BYTES }), (bytes) => {
      try {
        expect(decodeHeader(bytes).length).toBeLessThanOrEqual(MAX_PAYLOAD_BYTES);
      } catch (error) {
        expect(error).toMatchObject({ code: "CC_FRAME_INVALID" });
      }
    }),
  );
});

test("an unknown type is refused, and skipped when it carries the optional flag", () => {
  expect(() => decodeHeader(header({ type: 0x7f }))).toThrow("type 127");
  expect(decodeHeader(header({ type: 0x7f, flags: FLAG_OPTIONAL, length: 9 }))).toMatchObject({
    type: undefined,
    length: 9,
  });
});

test("a frame that not every peer knows is written with the optional flag", () => {
  const bytes = new Uint8Array(HEADER_BYTES);
  encodeHeader(bytes, 0, { type: "RELAYS", streamId: 0, length: 4 });
  expect(decodeHeader(bytes)).toMatchObject({ type: "RELAYS", flags: FLAG_OPTIONAL });
});

test("an unknown version is refused", () => {
  expect(() => decodeHeader(header({ version: 2 }))).toThrow("version 2");
});

test("a payload above the limit is refused before it is read", () => {
  expect(() => decodeHeader(header({ length: MAX_PAYLOAD_BYTES + 1 }))).toThrow("65537");
});

test("a session's frame takes no stream id and a stream's frame needs one", () => {
  expect(() => decodeHeader(header({ type: FRAME_TYPE_NUMBERS.PING, id: 1 }))).toThrow("PING");
  expect(() => decodeHeader(header({ type: FRAME_TYPE_NUMBERS.DATA, id: 0 }))).toThrow("DATA");
  expect(() => decodeHeader(header({ id: 0x8000_0000 }))).toThrow("out of range");
});
