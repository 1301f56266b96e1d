import fc from "fast-check";
import { expect, test } from "vitest";
import {
  decodeEnd,
  decodeGoaway,
  decodeHopAck,
  decodeRelays,
  decodeU64,
  decodeWindow,
  ERRORS,
  type ErrorCode,
  encodeEnd,
  encodeGoaway,
  encodeHopAck,
  encodeRelays,
  encodeU64,
  encodeWindow,
  MAX_TEXT_BYTES,
} from "../src/index.ts";

const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const offset = fc.maxSafeNat();
const wireCodes = (Object.keys(ERRORS) as ErrorCode[]).filter((code) => ERRORS[code].wire !== undefined);
const code = fc.option(fc.constantFrom(...wireCodes), { nil: undefined });
const text = fc.string({ unit: "grapheme", maxLength: 100 });

test("numbers, windows and acknowledgements read back the same up to 2^53 - 1", () => {
  fc.assert(
    fc.property(offset, u32, (consumed, windowBytes) => {
      expect(decodeU64(encodeU64(consumed))).toBe(consumed);
      expect(decodeWindow(encodeWindow({ consumed, windowBytes }))).toEqual({ consumed, windowBytes });
      expect(decodeHopAck(encodeHopAck({ received: consumed, everyBytes: windowBytes }))).toEqual({
        received: consumed,
        everyBytes: windowBytes,
      });
      expect(decodeRelays(encodeRelays(windowBytes))).toBe(windowBytes);
    }),
  );
});

test("a number of 2^53 or more is refused, not rounded", () => {
  expect(() => decodeU64(Uint8Array.of(0, 0x20, 0, 0, 0, 0, 0, 0))).toThrow("2^53");
});

test("RESET, REJECT and GOAWAY keep code, delay, ids and text", () => {
  fc.assert(
    fc.property(code, u32, text, fc.integer({ min: 0, max: 0x7fff_ffff }), (code, retryAfterMs, text, lastStreamId) => {
      expect(decodeEnd(encodeEnd({ code, retryAfterMs, text }))).toEqual({ code, retryAfterMs, text });
      const goaway = { lastStreamId, deadlineMs: retryAfterMs, code, retryAfterMs, text };
      expect(decodeGoaway(encodeGoaway(goaway))).toEqual(goaway);
    }),
  );
});

test("a long text is cut between characters, to at most the limit", () => {
  const { text } = decodeEnd(encodeEnd({ text: "é".repeat(MAX_TEXT_BYTES) }));
  expect(text).toBe("é".repeat(MAX_TEXT_BYTES / 2));
});

test("a code that never travels is told as CC_INTERNAL, an unknown number reads as CC_STREAM_RESET", () => {
  expect(decodeEnd(encodeEnd({ code: "CC_USAGE" })).code).toBe("CC_INTERNAL");
  expect(decodeEnd(Uint8Array.of(0xff, 0xff, 0, 0, 0, 0)).code).toBe("CC_STREAM_RESET");
});

test("any bytes decode or are CC_FRAME_INVALID, never another error", () => {
  const decoders = [decodeU64, decodeWindow, decodeHopAck, decodeRelays, decodeEnd, decodeGoaway];
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), fc.constantFrom(...decoders), (bytes, decode) => {
      try {
        decode(bytes);
      } catch (error) {
        expect(error).toMatchObject({ code: "CC_FRAME_INVALID" });
      }
    }),
  );
});
