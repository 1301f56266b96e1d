import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { expect, test } from "vitest";
import { createByteQueue } from "../../src/bytes/byte-queue.ts";
import { SLAB_BYTES } from "../../src/bytes/slab-pool.ts";
import { createTestSlabs } from "../../src/testing/index.ts";

const chunk = fc.oneof(
  fc.uint8Array({ maxLength: 40 }),
  fc.uint8Array({ minLength: 500, maxLength: 5_000 }),
  fc.nat(3 * SLAB_BYTES).map((length) => Buffer.alloc(length, length)),
);

test("reading keeps bytes, dropping forgets those below, and offsets stay absolute", () => {
  const steps = fc.array(fc.tuple(chunk, fc.nat(20_000), fc.nat(90_000), fc.nat(40_000)), { maxLength: 12 });
  fc.assert(
    fc.property(steps, (list) => {
      const queue = createByteQueue(createTestSlabs());
      let all = Buffer.alloc(0);
      let dropped = 0;
      for (const [bytes, from, length, drop] of list) {
        queue.append(bytes);
        all = Buffer.concat([all, bytes]);
        const start = Math.min(all.length, dropped + from);
        const wanted = all.subarray(start, start + length);
        expect(Buffer.concat(queue.read(start, length)).equals(wanted)).toBe(true);
        const view = queue.view(start, length) ?? Buffer.alloc(0);
        expect(wanted.subarray(0, view.length).equals(view)).toBe(true);
        expect(view.length > 0).toBe(wanted.length > 0);
        dropped = Math.min(all.length, dropped + drop);
        queue.dropTo(dropped);
        expect(queue.start).toBe(dropped);
        expect(queue.end).toBe(all.length);
      }
    }),
  );
});

test("what is appended is copied: whoever gave it may write to it again", () => {
  const queue = createByteQueue(createTestSlabs());
  const bytes = Buffer.alloc(40_000, 1);
  queue.append(bytes);
  bytes.fill(2);
  expect(Buffer.concat(queue.read(0, 40_000)).equals(Buffer.alloc(40_000, 1))).toBe(true);
});

test("bytes that were handed out do not change until they are dropped", () => {
  const queue = createByteQueue(createTestSlabs());
  for (let value = 0; value < 200; value += 1) queue.append(Buffer.alloc(200, value));
  const read = queue.read(20_000, 10_000);
  const copy = Buffer.concat(read);
  queue.dropTo(20_000);
  for (let value = 0; value < 200; value += 1) queue.append(Buffer.alloc(200, value));
  expect(Buffer.concat(read).equals(copy)).toBe(true);
});

test("bulk that passes uses the same memory again", () => {
  const slabs = createTestSlabs();
  let taken = 0;
  const acquire = () => {
    taken += 1;
    return slabs.acquire();
  };
  const seen = new Set<ArrayBufferLike>();
  const queue = createByteQueue({ ...slabs, acquire });
  for (let count = 0; count < 100; count += 1) {
    queue.append(Buffer.alloc(SLAB_BYTES));
    for (const part of queue.read(queue.start, SLAB_BYTES)) seen.add(part.buffer);
    queue.dropTo(queue.end);
  }
  expect(taken).toBe(100);
  expect(seen.size).toBe(1);
});

/** Collects all garbage: what is left then is held by somebody. */
function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  runInNewContext("gc")();
}

test("a queue that never runs empty lets go of the memory of dropped bytes", async () => {
  const queue = createByteQueue();
  const chunk = Buffer.alloc(SLAB_BYTES);
  queue.append(chunk);
  collectGarbage();
  const before = process.memoryUsage().arrayBuffers;
  for (let count = 0; count < 8_000; count += 1) {
    queue.append(chunk);
    queue.dropTo(queue.end - 1);
  }
  // A thread of its own frees what was collected.
  const growth = (): number => {
    collectGarbage();
    return process.memoryUsage().arrayBuffers - before;
  };
  await expect.poll(growth).toBeLessThan(8 * 2 ** 20);
  expect(queue.end - queue.start).toBe(1);
});
