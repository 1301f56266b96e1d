import { FLAG_OPTIONAL, type FrameType, HEADER_BYTES, MAX_PAYLOAD_BYTES } from "@cluster-connect/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import { createDecoder, type Frame } from "../../src/frames/decode.ts";
import { encodeFrame } from "../../src/frames/encode.ts";

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

/** Frames as plain values; parts of DATA that follow each other on a stream become one. */
function joinData(list: readonly Pick<Frame, "type" | "payload">[] & readonly { readonly streamId: number }[]) {
  const joined: Array<{ type: string; streamId: number; payload: number[] }> = [];
  for (const { type, streamId, payload } of list) {
    const last = joined.at(-1);
    if (type === "DATA" && last?.type === "DATA" && last.streamId === streamId) last.payload.push(...payload);
    else joined.push({ type, streamId, payload: [...payload] });
  }
  return joined;
}

test("frames come out as they went in, however the bytes are split and joined", () => {
  fc.assert(
    fc.property(frames, fc.array(fc.nat(), { maxLength: 40 }), (list, cuts) => {
      const bytes = Buffer.concat(list.map(({ payload, ...frame }) => encodeFrame({ ...frame, parts: [payload] })));
      const found = decodeAll(cutAt(bytes, cuts));
      expect(joinData(found)).toEqual(joinData(list));
    }),
  );
});

test("one byte at a time is enough", () => {
  const bytes = encodeFrame({ type: "DATA", streamId: 1, parts: [Buffer.from("hello")] });
  const found = decodeAll([...bytes].map((byte) => Uint8Array.of(byte)));
  expect(joinData(found)).toEqual([{ type: "DATA", streamId: 1, payload: [...Buffer.from("hello")] }]);
});

test("DATA is handed on as it comes, without a copy", () => {
  const bytes = encodeFrame({ type: "DATA", streamId: 1, parts: [Buffer.from("hello")] });
  const first = bytes.subarray(0, HEADER_BYTES + 2);
  const found = decodeAll([first, bytes.subarray(HEADER_BYTES + 2)]);
  expect(found.map((frame) => Buffer.from(frame.payload).toString())).toEqual(["he", "llo"]);
  expect(found[0]?.payload.buffer).toBe(first.buffer);
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
