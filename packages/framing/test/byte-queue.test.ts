import fc from "fast-check";
import { expect, test } from "vitest";
import { createByteQueue } from "../src/byte-queue.ts";

const chunks = fc.array(
  fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.uint8Array({ minLength: 500, maxLength: 1_500 })),
  { maxLength: 60 },
);

test("what is appended is taken in order, whatever the chunks and the amounts taken", () => {
  fc.assert(
    fc.property(chunks, fc.array(fc.integer({ min: 1, max: 2_000 }), { minLength: 1 }), (written, amounts) => {
      const queue = createByteQueue();
      const expected = Buffer.concat(written);
      const taken: Uint8Array[] = [];
      written.forEach((chunk, index) => {
        queue.append(chunk);
        const part = index % 3 === 0 ? queue.take(amounts[index % amounts.length] ?? 1) : undefined;
        if (part !== undefined) taken.push(Buffer.from(part));
      });
      for (let part = queue.take(700); part !== undefined; part = queue.take(700)) taken.push(part);
      expect(Buffer.concat(taken).equals(expected)).toBe(true);
      expect(queue.start).toBe(expected.length);
    }),
  );
});

test("reading keeps bytes, dropping forgets those below, and offsets stay absolute", () => {
  const steps = fc.array(fc.tuple(fc.uint8Array({ maxLength: 600 }), fc.nat(900), fc.nat(900), fc.nat(400)));
  fc.assert(
    fc.property(steps, (list) => {
      const queue = createByteQueue(7);
      const all: number[] = [];
      let dropped = 0;
      for (const [chunk, from, length, drop] of list) {
        queue.append(chunk);
        all.push(...chunk);
        const start = Math.min(all.length, dropped + from);
        const read = Buffer.concat(queue.read(7 + start, length));
        expect([...read]).toEqual(all.slice(start, start + length));
        dropped = Math.min(all.length, dropped + drop);
        queue.dropTo(7 + dropped);
        expect(queue.start).toBe(7 + dropped);
        expect(queue.end).toBe(7 + all.length);
      }
    }),
  );
});

test("bytes that were handed out do not change when more are appended", () => {
  const queue = createByteQueue();
  for (let value = 0; value < 10; value += 1) queue.append(Uint8Array.of(value));
  const read = queue.read(0, 10);
  const copy = Buffer.concat(read);
  for (let value = 10; value < 20; value += 1) queue.append(Uint8Array.of(value));
  expect(Buffer.concat(read).equals(copy)).toBe(true);
});
