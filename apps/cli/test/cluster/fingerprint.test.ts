import fc from "fast-check";
import { expect, test } from "vitest";
import { parseFingerprint } from "../../src/cluster/fingerprint.ts";

const PAIRS = Array.from({ length: 32 }, (_, index) =>
  (index * 7).toString(16).padStart(2, "0").slice(-2).toUpperCase(),
);
const PRINTED = PAIRS.join(":");
const PLAIN = PAIRS.join("");

test.for([
  PRINTED,
  PRINTED.toLowerCase(),
  PLAIN,
  PLAIN.toLowerCase(),
  `SHA256:${PLAIN}`,
  `sha-256 ${PRINTED}`,
  ` ${PRINTED}\n`,
])("a fingerprint is read however it was copied: %s", (text) => {
  expect(parseFingerprint(text, "--fingerprint")).toBe(PRINTED);
});

test.for([
  ["", "it has 0 hex digits instead of 64"],
  [PLAIN.slice(1), "it has 63 hex digits instead of 64"],
  [`${PLAIN}0`, "it has 65 hex digits instead of 64"],
  [PRINTED.slice(0, 23), "it has 16 hex digits instead of 64"],
  [`${PLAIN.slice(1)}g`, "it holds other characters than hex digits and colons"],
  ["SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU", "it holds other characters than hex digits and colons"],
] as const)("%s is no fingerprint, and it is said why", ([text, what]) => {
  expect(() => parseFingerprint(text, "--cluster-fingerprint of prod")).toThrow(
    expect.objectContaining({
      code: "CC_USAGE",
      message: `--cluster-fingerprint of prod is no SHA-256 fingerprint: ${what}`,
      hint: expect.stringContaining("clusters trust"),
    }),
  );
});

test("whatever was typed is a fingerprint in its one spelling, or an error", () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      let found = "";
      try {
        found = parseFingerprint(text, "it");
      } catch {
        return;
      }
      expect(found).toMatch(/^([0-9A-F]{2}:){31}[0-9A-F]{2}$/);
    }),
  );
});
