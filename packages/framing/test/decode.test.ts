import { FLAG_OPTIONAL, type FrameType, HEADER_BYTES, MAX_PAYLOAD_BYTES } from "@cluster-connect/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import { createDecoder, type Frame } from "../src/decode.ts";
import { encodeFrame } from "../src/encode.ts";

const frames = fc.array(
  fc.record({
    type: fc.constantFrom<FrameType>("DATA", "WINDOW", "FIN", "RESET", "OPEN"),
    streamId: fc.integer({ min: 1, max: 0x7fff_ffff }),
    payload: fc.uint8Array({ maxLength: 300 }),
  }),
  { maxLength: 20 },
);

function decodeAll(messages: readonly Uint8Array[]): Frame[] {
  const decoder = createDecoder();
  const found: Frame[] = [];
  for (const message of messages) {
    decoder.push(message);
    for (let frame = decoder.next(); frame !== undefined; frame = decoder.next()) found.push(frame);
  }
  return found;
}

function cutAt(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const points = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  return [...points, bytes.length].map((point, index, all) => bytes.subarray(all[index - 1] ?? 0, point));
}

test("frames come out as they went in, however the bytes are split and joined", () => {
  fc.assert(
    fc.property(frames, fc.array(fc.nat(), { maxLength: 40 }), (list, cuts) => {
      const bytes = Buffer.concat(list.map(({ payload, ...frame }) => encodeFrame({ ...frame, parts: [payload] })));
      const found = decodeAll(cutAt(bytes, cuts));
      expect(found.map(({ type, streamId, payload }) => [type, streamId, [...payload]])).toEqual(
        list.map(({ type, streamId, payload }) => [type, streamId, [...payload]]),
      );
    }),
  );
});

test("one byte at a time is enough", () => {
  const bytes = encodeFrame({ type: "DATA", streamId: 1, parts: [Buffer.from("hello")] });
  const found = decodeAll([...bytes].map((byte) => Uint8Array.of(byte)));
  expect(found.map((frame) => Buffer.from(frame.payload).toString())).toEqual(["hello"]);
});

test("an unknown frame that may be skipped is skipped", () => {
  const unknown = new Uint8Array(HEADER_BYTES + 2);
  unknown.set([1, 0x77, FLAG_OPTIONAL >> 8, 0, 0, 0, 0, 1, 0, 0, 0, 2]);
  const known = encodeFrame({ type: "FIN", streamId: 1, parts: [new Uint8Array(8)] });
  expect(decodeAll([Buffer.concat([unknown, known])]).map((frame) => frame.type)).toEqual(["FIN"]);
});

test("a payload above the limit is refused at its header", () => {
  const header = new Uint8Array(HEADER_BYTES);
  header.set([1, 0x20, 0, 0, 0, 0, 0, 1]);
  new DataView(header.buffer).setUint32(8, MAX_PAYLOAD_BYTES + 1);
  expect(() => decodeAll([header])).toThrow(expect.objectContaining({ code: "CC_FRAME_INVALID" }));
});

test("any bytes either decode or are refused by name", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 64 })), (messages) => {
      try {
        decodeAll(messages);
      } catch (error) {
        expect(error).toMatchObject({ code: "CC_FRAME_INVALID" });
      }
    }),
  );
});
