import fc from "fast-check";
import { expect, test } from "vitest";
import { createSpdyTracker, lastDataFrame } from "../../src/ending/spdy-frames.ts";

/** A frame by SPDY/3.1, written without the code under test. */
function frame(control: boolean, length: number): Buffer {
  const head = [control ? 0x80 : 0, 3, 0, 9, 0, (length >> 16) & 0xff, (length >> 8) & 0xff, length & 0xff];
  return Buffer.concat([Buffer.from(head), Buffer.alloc(length, 0x80)]);
}

const frames = fc.array(fc.tuple(fc.boolean(), fc.constantFrom(0, 1, 7, 8, 9, 255, 256, 65_536, 70_000)), {
  minLength: 1,
  maxLength: 6,
});
const sizes = fc.array(fc.integer({ min: 1, max: 90_000 }), { maxLength: 20 });

test("a boundary is where a frame has ended, however the bytes are split", () => {
  fc.assert(
    fc.property(frames, sizes, (shapes, pieces) => {
      const all = shapes.map(([control, length]) => frame(control, length));
      const ends = new Set([0]);
      let offset = 0;
      for (const bytes of all) {
        offset += bytes.length;
        ends.add(offset);
      }
      const whole = Buffer.concat(all);
      const tracker = createSpdyTracker();
      let at = 0;
      for (const size of [...pieces, whole.length]) {
        expect(tracker.atBoundary()).toBe(ends.has(at));
        at += tracker.push(whole.subarray(at, at + size));
      }
      expect(at).toBe(whole.length);
      expect(tracker.atBoundary()).toBe(true);
    }),
  );
});

test("the last data frame of a stream carries its id, the end and its length", () => {
  const bytes = lastDataFrame(1, Buffer.from("why"));
  expect([...bytes.subarray(0, 8)]).toEqual([0, 0, 0, 1, 1, 0, 0, 3]);
  expect(bytes.subarray(8).toString()).toBe("why");
});

test("a data frame carries as many bytes as its length can say, and no more", () => {
  const frameOf = (bytes: number): Buffer => lastDataFrame(1, Buffer.alloc(bytes));
  for (const bytes of [0xff_ff_ff, 0x1_00_00_00]) {
    const frame = frameOf(bytes);
    expect([...frame.subarray(5, 8)]).toEqual([0xff, 0xff, 0xff]);
    expect(frame.length - 8).toBe(0xff_ff_ff);
  }
});
