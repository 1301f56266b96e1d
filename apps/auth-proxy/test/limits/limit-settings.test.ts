import { describe, expect, test } from "vitest";
import { LIMIT_SCHEMA, type ProxyLimits } from "../../src/limits/limit-settings.ts";
import { DEFAULT_LIMITS } from "../../src/limits/limits.ts";

const PARTS: readonly (readonly [part: keyof ProxyLimits, whole: keyof ProxyLimits])[] = [
  ["requestsPerCaller", "requests"],
  ["longRequestsPerCaller", "longRequests"],
  ["upgradesPerCaller", "upgrades"],
  ["handshakes", "streams"],
];

describe.each(PARTS)("limits.%s beside limits.%s", (part, whole) => {
  test("is taken as large as that", () => {
    expect(LIMIT_SCHEMA.parse({ [whole]: 7, [part]: 7 })).toEqual({ ...DEFAULT_LIMITS, [whole]: 7, [part]: 7 });
  });

  test("is refused one past it, with a sentence that names the other", () => {
    const { error } = LIMIT_SCHEMA.safeParse({ [whole]: 7, [part]: 8 });
    const message = `expected at most 7: \`limits.${whole}\` is the limit of all`;
    expect(error?.issues).toMatchObject([{ path: [part], message }]);
  });

  test("follows from it where it is not given, and is never more than by default", () => {
    expect(LIMIT_SCHEMA.parse({ [whole]: 3 })).toEqual({ ...DEFAULT_LIMITS, [whole]: 3, [part]: 3 });
    expect(LIMIT_SCHEMA.parse({ [whole]: 1_000_000 })).toEqual({ ...DEFAULT_LIMITS, [whole]: 1_000_000 });
  });
});

test("the defaults do not contradict each other", () => {
  expect(LIMIT_SCHEMA.parse(undefined)).toEqual(DEFAULT_LIMITS);
});
