import fc from "fast-check";
import { expect, test } from "vitest";
import { applyMask } from "../../src/ws/mask.ts";

test("each byte meets its byte of the key, wherever the bytes lie in memory and in the frame", () => {
  const key = fc.uint8Array({ minLength: 4, maxLength: 4 });
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 50 }), key, fc.nat(7), fc.nat(9), (payload, mask, lead, offset) => {
      const memory = new Uint8Array(lead + payload.length + 5).fill(0xee);
      const bytes = memory.subarray(lead, lead + payload.length);
      bytes.set(payload);
      applyMask(bytes, mask, offset);
      expect([...bytes]).toEqual([...payload].map((byte, index) => byte ^ (mask[(offset + index) & 3] ?? 0)));
      expect(memory.subarray(0, lead).every((byte) => byte === 0xee)).toBe(true);
      expect(memory.subarray(lead + payload.length).every((byte) => byte === 0xee)).toBe(true);
    }),
  );
});
