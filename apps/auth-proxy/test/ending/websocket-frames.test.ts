import fc from "fast-check";
import { expect, test } from "vitest";
import { closeFrame, createWebSocketTracker } from "../../src/ending/websocket-frames.ts";

/** A frame by RFC 6455, written without the code under test. */
function frame(opcode: number, final: boolean, length: number, masked: boolean): Buffer {
  const first = (final ? 0x80 : 0) | opcode;
  const mask = masked ? 0x80 : 0;
  const head =
    length < 126
      ? [first, mask | length]
      : length < 65_536
        ? [first, mask | 126, length >> 8, length & 0xff]
        : [first, mask | 127, 0, 0, 0, 0, 0, length >> 16, (length >> 8) & 0xff, length & 0xff];
  return Buffer.concat([Buffer.from(head), Buffer.alloc(masked ? 4 : 0, 1), Buffer.alloc(length, 0x88)]);
}

const length = fc.constantFrom(0, 1, 125, 126, 127, 65_535, 65_536, 70_000);
/** A message in one to three frames, with a ping between them. */
const message = fc
  .tuple(fc.array(length, { minLength: 1, maxLength: 3 }), fc.boolean(), fc.boolean())
  .map(([lengths, ping, masked]) => {
    const frames = lengths.map((bytes, index) =>
      frame(index === 0 ? 2 : 0, index === lengths.length - 1, bytes, masked),
    );
    return ping
      ? [
          ...frames
            .slice(0, 1)
            .flatMap((first) =>
              frames.length > 1 ? [first, frame(9, true, 3, masked)] : [frame(9, true, 3, masked), first],
            ),
          ...frames.slice(1),
        ]
      : frames;
  });

test("a boundary is where a whole message has ended, however the bytes are split", () => {
  fc.assert(
    fc.property(
      fc.array(message, { minLength: 1, maxLength: 4 }),
      fc.array(fc.integer({ min: 1, max: 90_000 }), { maxLength: 20 }),
      (messages, sizes) => {
        const ends = new Set<number>([0]);
        let offset = 0;
        for (const frames of messages) {
          let open = false;
          for (const bytes of frames) {
            offset += bytes.length;
            const control = ((bytes[0] ?? 0) & 0x08) !== 0;
            if (!control) open = ((bytes[0] ?? 0) & 0x80) === 0;
            if (!open) ends.add(offset);
          }
        }
        const all = Buffer.concat(messages.flat());
        const tracker = createWebSocketTracker();
        let at = 0;
        for (const size of [...sizes, all.length]) {
          expect(tracker.atBoundary()).toBe(ends.has(at));
          const piece = all.subarray(at, at + size);
          tracker.push(piece);
          at += piece.length;
        }
        expect(at).toBe(all.length);
        expect(tracker.atBoundary()).toBe(true);
      },
    ),
    { numRuns: 300 },
  );
});

test("a close frame is one unmasked control frame with its code and a reason that fits", () => {
  const bytes = closeFrame("é".repeat(100));
  expect(bytes.subarray(0, 4)).toEqual(Buffer.from([0x88, bytes.length - 2, 0x03, 0xf0]));
  expect(bytes.length - 2).toBeLessThanOrEqual(125);
  const text = bytes.subarray(4).toString();
  expect("é".repeat(100).startsWith(text)).toBe(true);
  expect(closeFrame("why").subarray(4).toString()).toBe("why");
});

test("a close frame carries a reason of 123 bytes whole, and of a longer one as many", () => {
  const reasonOf = (characters: number): string => closeFrame("r".repeat(characters)).subarray(4).toString();
  expect(reasonOf(123)).toBe("r".repeat(123));
  expect(reasonOf(124)).toBe("r".repeat(123));
});
