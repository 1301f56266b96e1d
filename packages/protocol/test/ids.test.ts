import fc from "fast-check";
import { expect, test } from "vitest";
import {
  clusterUidFile,
  isClusterUid,
  MAX_CLUSTER_UID_CHARACTERS,
  parseClusterId,
  parseClusterUid,
  parseCorrelationId,
  parseInstanceId,
  parseStreamId,
} from "../src/index.ts";

test.each(["a", "prod-1", "0", "a".repeat(63)])("%s is a cluster id", (value) => {
  expect(parseClusterId(value)).toBe(value);
});

test.each(["", "A", "-a", "a-", "a.b", "a".repeat(64), "a\n", undefined, 7])("%j is no cluster id", (value) => {
  expect(() => parseClusterId(value)).toThrow("1 to 63 characters");
});

test("no id parser lets a line break, a quote or a blank through", () => {
  fc.assert(
    fc.property(fc.string(), fc.constantFrom(..."\n\r\t \"'\\/"), fc.string(), (before, odd, after) => {
      for (const parse of [parseClusterId, parseClusterUid, parseInstanceId, parseCorrelationId]) {
        expect(() => parse(`${before}${odd}${after}`)).toThrow();
      }
    }),
  );
});

test("stream ids end at 2^31 - 1", () => {
  expect(parseStreamId(0x7fff_ffff)).toBe(0x7fff_ffff);
  for (const value of [-1, 0.5, 0x8000_0000, "1", Number.NaN]) expect(() => parseStreamId(value)).toThrow("stream id");
});

test.each(["0b5c8f0e-6f0c-4d52-9d8c-2b1a7f3e4c5d", "a", "A.b_c-1", "0".repeat(MAX_CLUSTER_UID_CHARACTERS)])(
  "%s is a cluster's UID",
  (value) => {
    expect(parseClusterUid(value)).toBe(value);
    expect(isClusterUid(value)).toBe(true);
  },
);

test.each([
  "",
  "-a",
  ".",
  "a b",
  "a/b",
  "ü",
  "a\n",
  "0".repeat(MAX_CLUSTER_UID_CHARACTERS + 1),
  undefined,
  null,
  7,
  {},
])("%j is no cluster's UID", (value) => {
  expect(() => parseClusterUid(value)).toThrow(expect.objectContaining({ code: "CC_ID_INVALID" }));
  expect(isClusterUid(value)).toBe(false);
});

test("a text is a cluster's UID or is refused, and one that is comes back as it was", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.uuid(), fc.string({ unit: "binary" })), (text) => {
      if (isClusterUid(text)) expect(parseClusterUid(text)).toBe(text);
      else expect(() => parseClusterUid(text)).toThrow("A cluster's UID");
    }),
  );
});

test("auth proxy and agent find the UID beside the authorities, in a file for each of them", () => {
  expect(clusterUidFile("/run/cluster-connect/ca.crt")).toBe("/run/cluster-connect/ca.crt.cluster-uid");
});
