import { ConnectError } from "@cluster-connect/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import { parseLabelSelector } from "../../src/grants/label-selector.ts";

const LABELS = { env: "prod", "example.com/tier": "a", empty: "" };

test.each([
  ["env=prod"],
  ["env==prod"],
  [" env = prod , example.com/tier in (a, b)"],
  ["env in (prod)"],
  ["env!=dev"],
  ["missing!=x"],
  ["missing notin (x,y)"],
  ["!missing"],
  ["env"],
  ["empty="],
  ["empty in ()"],
])("%s matches", (source) => {
  expect(parseLabelSelector(source).matches(LABELS)).toBe(true);
});

test.each([
  ["env=dev"],
  ["missing=x"],
  ["missing in (x)"],
  ["env notin (prod,dev)"],
  ["missing"],
  ["!env"],
  ["env=prod,example.com/tier=b"],
  ["toString"],
  ["constructor!=x,env=dev"],
])("%s does not match", (source) => {
  expect(parseLabelSelector(source).matches(LABELS)).toBe(false);
});

test.each([
  [""],
  [","],
  ["env=prod,"],
  ["env=prod;tier=a"],
  ["env in prod"],
  ["env in (a"],
  ["env > 1"],
  ["-env=prod"],
  ["env=a b"],
  ["UPPER.Case/x=1"],
  [`env=${"x".repeat(64)}`],
  ["x".repeat(2_000)],
])("%s is refused, never repaired", (source) => {
  expect(() => parseLabelSelector(source)).toThrow(ConnectError);
});

test("whatever the text, it is a selector or a ConnectError", () => {
  const text = fc.oneof(fc.string(), fc.stringMatching(/^[a-z!=(), ]{0,40}$/));
  fc.assert(
    fc.property(text, fc.dictionary(fc.string(), fc.string()), (source, labels) => {
      try {
        expect(typeof parseLabelSelector(source).matches(labels)).toBe("boolean");
      } catch (error) {
        expect(error).toBeInstanceOf(ConnectError);
      }
    }),
  );
});

test("in and notin are each other's opposite, whatever the labels", () => {
  const name = fc.stringMatching(/^[a-z][a-z0-9]{0,5}$/).filter((word) => word !== "in" && word !== "notin");
  fc.assert(
    fc.property(name, fc.array(name, { minLength: 1 }), fc.dictionary(name, name), (key, values, labels) => {
      const set = `(${values.join(",")})`;
      const [isIn, notIn] = [parseLabelSelector(`${key} in ${set}`), parseLabelSelector(`${key} notin ${set}`)];
      expect(isIn.matches(labels)).toBe(!notIn.matches(labels));
    }),
  );
});
