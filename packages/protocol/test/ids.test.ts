import fc from "fast-check";
import { expect, test } from "vitest";
import { parseClusterId, parseCorrelationId, parseInstanceId, parseStreamId } from "../src/index.ts";

test.each(["a", "prod-1", "0", "a".repeat(63)])("%s is a cluster id", (value) => {
  expect(parseClusterId(value)).toBe(value);
});

test.each(["", "A", "-a", "a-", "a.b", "a".repeat(64), "a\n", undefined, 7])("%j is no cluster id", (value) => {
  expect(() => parseClusterId(value)).toThrow("1 to 63 characters");
});

test("no id parser lets a line break, a quote or a blank through", () => {
  fc.assert(
    fc.property(fc.string(), fc.constantFrom(..."\n\r\t \"'\\/"), fc.string(), (before, odd, after) => {
      for (const parse of [parseClusterId, parseInstanceId, parseCorrelationId]) {
        expect(() => parse(`${before}${odd}${after}`)).toThrow();
      }
    }),
  );
});

test("stream ids end at 2^31 - 1", () => {
  expect(parseStreamId(0x7fff_ffff)).toBe(0x7fff_ffff);
  for (const value of [-1, 0.5, 0x8000_0000, "1", Number.NaN]) expect(() => parseStreamId(value)).toThrow("stream id");
});
