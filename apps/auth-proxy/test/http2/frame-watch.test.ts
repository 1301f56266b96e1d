import { connect } from "node:http2";
import { Duplex } from "node:stream";
import fc from "fast-check";
import { expect, test } from "vitest";
import { createHeaderBlockReader } from "../../src/entry/frame-watch.ts";
import { block, END_HEADERS, END_STREAM, FRAME, frame } from "../support/http2-frames.ts";

/** Everything that Node's own client sends for some requests: compressed, indexed, in several frames. */
async function bytesOf(heads: readonly (readonly string[])[]): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const duplex = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      chunks.push(chunk);
      done();
    },
  });
  const session = connect("http://a", { createConnection: () => duplex, maxSendHeaderBlockLength: 1_000_000 });
  session.on("error", () => {});
  for (const head of heads) {
    const pseudo = [":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/"];
    session.request([...pseudo, ...head], { endStream: true }).on("error", () => {});
  }
  await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setImmediate(resolve));
  session.destroy();
  return Buffer.concat(chunks);
}

const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/).filter((one) => !/^(te|connection|upgrade|host)$/.test(one));
const value = fc.oneof(
  fc.stringMatching(/^[!-~]{0,300}$/),
  fc.integer({ min: 1, max: 40_000 }).map((length) => "v".repeat(length)),
);
const head = fc.array(fc.tuple(name, value), { maxLength: 12 }).map((lines) => lines.flat());

test("the lines of every block are counted, however they are compressed and cut", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(head, { minLength: 1, maxLength: 4 }),
      fc.integer({ min: 1, max: 5_000 }),
      async (heads, cut) => {
        const bytes = await bytesOf(heads);
        const counted: number[] = [];
        const reader = createHeaderBlockReader((_streamId, fields) => counted.push(fields));
        for (let at = 0; at < bytes.length; at += cut) reader.push(bytes.subarray(at, at + cut));
        expect(counted).toEqual(heads.map((one) => 4 + one.length / 2));
        expect(reader.unfinished()).toBeUndefined();
      },
    ),
    { numRuns: 60 },
  );
});

test("padding, priority and updates of the table's size are no lines, and an unfinished block is known", () => {
  const counted: (readonly number[])[] = [];
  const reader = createHeaderBlockReader((streamId, fields) => counted.push([streamId, fields]));
  reader.push(Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
  const lines = Buffer.concat([Buffer.from([0x3f, 0xe1, 0x1f]), block([["a", "b"]]), Buffer.from([0x82, 0xff, 0x00])]);
  const padded = Buffer.concat([Buffer.from([3]), Buffer.alloc(5), lines, Buffer.alloc(3)]);
  reader.push(frame(FRAME.headers, END_HEADERS | END_STREAM | 0x8 | 0x20, 5, padded));
  reader.push(frame(FRAME.data, 0, 5, Buffer.from([0, 0, 0, 1, 4])));
  reader.push(frame(FRAME.headers, 0, 7, lines.subarray(0, 5)));
  expect(reader.unfinished()).toBe(7);
  reader.push(frame(FRAME.continuation, END_HEADERS, 7, lines.subarray(5)));
  expect(reader.unfinished()).toBeUndefined();
  expect(counted).toEqual([
    [5, 3],
    [7, 3],
  ]);
});
