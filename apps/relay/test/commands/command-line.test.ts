import { expect, test } from "vitest";
import { parseCommandLine } from "../../src/commands/command-line.ts";
import { parseDuration } from "../../src/commands/duration.ts";

test.each([
  ["90s", 90_000],
  ["30m", 1_800_000],
  ["1h30m", 5_400_000],
  ["7d", 604_800_000],
])("%s is %i ms", (text, ms) => {
  expect(parseDuration(text)).toBe(ms);
});

test("a duration has 366 days at most", () => {
  expect(parseDuration("366d")).toBe(366 * 86_400_000);
  expect(() => parseDuration("366d1s")).toThrow(expect.objectContaining({ code: "CC_USAGE" }));
});

test.each(["", "1", "h", "-1h", "1 h", "1h ", "1y", "0s", "999999d", "1h1"])("%j is no duration", (text) => {
  expect(() => parseDuration(text)).toThrow(expect.objectContaining({ code: "CC_USAGE" }));
});

test("without a command the relay serves", () => {
  expect(parseCommandLine(["--config", "a.yaml"])).toEqual({
    kind: "serve",
    checkConfig: false,
    where: { configFile: "a.yaml", dataDir: undefined },
  });
});

test("enroll takes a cluster, an expiry and an output", () => {
  expect(parseCommandLine(["enroll", "--cluster", "prod", "--expires", "2h", "-o", "json", "--data-dir", "d"])).toEqual(
    {
      kind: "enroll",
      clusterId: "prod",
      expiresMs: 7_200_000,
      maxUses: 1,
      output: "json",
      where: { configFile: undefined, dataDir: "d" },
    },
  );
});

test.each([
  ["--key", "-ilqsWZazGdJI8SOzJ4aNgB-be506CDZePLbrz4dfaev"],
  ["--key=-ilqsWZazGdJI8SOzJ4aNgB-be506CDZePLbrz4dfaev"],
])("a key's id may begin with a dash: %s", (...words) => {
  const keyId = "-ilqsWZazGdJI8SOzJ4aNgB-be506CDZePLbrz4dfaev";
  expect(parseCommandLine(["revoke", ...words, "-c", "a.yaml"])).toMatchObject({ kind: "revoke", keyId });
});

test.each([
  [["enroll"], "CC_USAGE", "--cluster ID is missing"],
  [["enroll", "--cluster", "Prod"], "CC_CLUSTER_ID_INVALID", "A cluster id"],
  [["enroll", "--cluster", "a", "--expires", "soon"], "CC_USAGE", "no duration"],
  [["enroll", "--cluster", "a", "-o", "xml"], "CC_USAGE", "--output"],
  [["revoke", "--key", "x"], "CC_ID_INVALID", "A key id"],
  [["dance"], "CC_USAGE", "dance"],
  [["serve", "now"], "CC_USAGE", "now"],
  [["audit"], "CC_USAGE", "expected audit verify"],
  [["audit", "verify", "now"], "CC_USAGE", "now is one argument too many"],
  [["--loud"], "CC_USAGE", "--loud"],
])("%j is refused with %s", (argv, code, message) => {
  expect(() => parseCommandLine(argv)).toThrow(
    expect.objectContaining({ code, message: expect.stringContaining(message) }),
  );
});
