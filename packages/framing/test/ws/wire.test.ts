import { randomBytes } from "node:crypto";
import { MAX_MESSAGE_BYTES } from "@cluster-connect/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import { createWireReader, MAX_CONTROL_BYTES, OPCODE, wireHeader } from "../../src/ws/wire.ts";

function frame(opcode: number, payload: Uint8Array, key?: Uint8Array): Buffer {
  const bytes = Buffer.from(payload);
  for (const [index, byte] of bytes.entries()) bytes[index] = byte ^ (key?.[index & 3] ?? 0);
  return Buffer.concat([wireHeader(opcode, payload.length, key), bytes]);
}

/** A frame by its first bytes, for frames that no sender of ours makes. */
function raw(first: number, second: number, rest: readonly number[] = []): Buffer {
  return Buffer.from([first, second, ...rest]);
}

function readAll(chunks: readonly Uint8Array[], masked: boolean) {
  const pieces: Uint8Array[] = [];
  const pings: string[] = [];
  const closes: Array<readonly [number, string]> = [];
  const reader = createWireReader(masked, {
    bytes: (piece) => pieces.push(Buffer.from(piece)),
    ping: (payload) => pings.push(Buffer.from(payload).toString()),
    close: (code, reason) => closes.push([code, reason]),
  });
  let broken: number | undefined;
  for (const chunk of chunks) broken ??= reader.push(Buffer.from(chunk));
  return { bytes: Buffer.concat(pieces), pings, closes, broken };
}

function cutAt(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const points = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  return [...points, bytes.length].map((point, index, all) => bytes.subarray(all[index - 1] ?? 0, point));
}

test.each([true, false])("messages come out as they went in, however the socket cuts them; masked %s", (masked) => {
  const payload = fc.oneof(
    fc.uint8Array({ maxLength: 130 }),
    fc.integer({ min: 60_000, max: MAX_MESSAGE_BYTES }).map((length) => Buffer.alloc(length, length)),
  );
  fc.assert(
    fc.property(fc.array(payload, { maxLength: 6 }), fc.array(fc.nat()), (payloads, cuts) => {
      const key = (): Buffer | undefined => (masked ? randomBytes(4) : undefined);
      const wire = Buffer.concat(
        payloads.flatMap((bytes) => [frame(OPCODE.binary, bytes, key()), frame(OPCODE.ping, Buffer.from("p"), key())]),
      );
      const found = readAll(cutAt(wire, cuts), masked);
      expect(found.broken).toBeUndefined();
      expect(found.bytes.equals(Buffer.concat(payloads))).toBe(true);
      expect(found.pings).toEqual(payloads.map(() => "p"));
    }),
  );
});

test("a control frame may have the most bytes that there may be", () => {
  expect(MAX_CONTROL_BYTES).toBe(125);
  const found = readAll([frame(OPCODE.ping, Buffer.alloc(125, "p"))], false);
  expect(found).toMatchObject({ broken: undefined, pings: ["p".repeat(125)] });
});

test("fragments of a message are read, with control frames between them", () => {
  const wire = [raw(0x02, 1, [65]), frame(OPCODE.ping, Buffer.from("between")), raw(0x00, 1, [66]), raw(0x80, 1, [67])];
  const found = readAll(wire, false);
  expect(found).toMatchObject({ broken: undefined, pings: ["between"] });
  expect(found.bytes.toString()).toBe("ABC");
});

test("a close tells its code and reason, and nothing after it is read", () => {
  const close = frame(OPCODE.close, Buffer.concat([Buffer.from([0x03, 0xe9]), Buffer.from("bye")]));
  const found = readAll([Buffer.concat([close, frame(OPCODE.binary, Buffer.from("late"))])], false);
  expect(found.closes).toEqual([[1001, "bye"]]);
  expect(found.bytes.length).toBe(0);
});

test.each<readonly [string, boolean, Buffer, number]>([
  ["a text message", false, raw(0x81, 0), 1003],
  ["a masked frame from an acceptor", false, raw(0x82, 0x80), 1002],
  ["an unmasked frame from a dialer", true, raw(0x82, 0), 1002],
  ["a reserved bit, as of a compressed message", false, raw(0xc2, 0), 1002],
  ["an unknown opcode", false, raw(0x83, 0), 1002],
  ["an unknown control opcode", false, raw(0x8b, 0), 1002],
  ["a control frame in fragments", false, raw(0x09, 0), 1002],
  ["a control frame that is too long", false, raw(0x89, MAX_CONTROL_BYTES + 1), 1002],
  ["a continuation of nothing", false, raw(0x80, 0), 1002],
  ["a new message inside another", false, Buffer.concat([raw(0x02, 0), raw(0x82, 0)]), 1002],
  ["a close with half a code", false, raw(0x88, 1, [3]), 1002],
  ["a message that is too long", false, raw(0x82, 127, [0, 0, 0, 0, 0, 1, 0x10, 0x0d]), 1009],
  ["a length beyond all measure", false, raw(0x82, 127, [255, 255, 255, 255, 255, 255, 255, 255]), 1009],
  [
    "a message that grows too long in fragments",
    false,
    Buffer.concat([raw(0x02, 126, [0xff, 0xff]), Buffer.alloc(65_535), raw(0x80, 126, [0xff, 0xff])]),
    1009,
  ],
  [
    "a message in too many fragments",
    false,
    Buffer.concat([raw(0x02, 0), ...Array.from({ length: 130 }, () => raw(0x00, 0))]),
    1009,
  ],
])("%s is refused", (_name, masked, wire, code) => {
  expect(readAll([wire], masked).broken).toBe(code);
  expect(
    readAll(
      [...wire].map((byte) => Buffer.from([byte])),
      masked,
    ).broken,
  ).toBe(code);
});

test("whatever comes, the reader either reads or refuses", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 40 })), fc.boolean(), (chunks, masked) => {
      const { broken } = readAll(chunks, masked);
      expect([undefined, 1002, 1003, 1009]).toContain(broken);
    }),
  );
});
