import { expect, test } from "vitest";
import { assertName, assertNotSystem, filterGroups, MAX_NAME_BYTES, matchesName } from "../../src/headers/names.ts";

const REFUSED = { code: "CC_IDENTITY_REFUSED" };

test.each([
  ["nothing", ""],
  ["a blank in front", " alice"],
  ["a blank behind", "alice\u00a0"],
  ["a line break", "alice\r\nImpersonate-Group: system:masters"],
  ["a NUL", "alice\0"],
  ["a C1 control", "alice\u0085"],
  ["a change of direction", "alice\u202e"],
  ["a lone surrogate", "alice\ud800"],
  ["too many bytes", "é".repeat(MAX_NAME_BYTES / 2 + 1)],
])("a name with %s is refused and not shown", (_what, name) => {
  expect(() => assertName("username", name)).toThrow(expect.objectContaining(REFUSED));
  if (name !== "") expect(() => assertName("username", name)).not.toThrow(name.slice(0, 12));
});

test.each(["alice@example.org", "Zoë Müller", "дев", "a,b", ",,,chameleon", "👩‍💻", "x".repeat(MAX_NAME_BYTES)])(
  "%s is a name",
  (name) => {
    expect(() => assertName("group", name)).not.toThrow();
  },
);

test("a name of 1,024 bytes is the longest", () => {
  expect(() => assertName("username", "é".repeat(512))).not.toThrow();
  expect(() => assertName("username", `${"é".repeat(512)}x`)).toThrow(expect.objectContaining(REFUSED));
});

test.each(["system:admin", "System:masters", "SYSTEM:node:a"])("%s is Kubernetes' own", (name) => {
  expect(() => assertNotSystem("username", name, [])).toThrow(expect.objectContaining(REFUSED));
});

test("an issuer's list lets exactly its own names pass", () => {
  const allowed = ["system:authenticated", "system:serviceaccount:*"];
  expect(() => assertNotSystem("username", "system:serviceaccount:a:b", allowed)).not.toThrow();
  expect(() => assertNotSystem("group", "system:authenticated", allowed)).not.toThrow();
  expect(() => assertNotSystem("group", "system:authenticated2", allowed)).toThrow(expect.objectContaining(REFUSED));
  expect(() => assertNotSystem("group", "system:masters", allowed)).toThrow(expect.objectContaining(REFUSED));
  expect(() => assertNotSystem("group", "systems", [])).not.toThrow();
});

test("groups are filtered by name or prefix and keep their order", () => {
  const groups = ["team-b", "other", "team-a", "ops"];
  expect(filterGroups(groups, { only: ["ops", "team-*"] })).toEqual(["team-b", "team-a", "ops"]);
  expect(filterGroups(groups, { only: [] })).toEqual([]);
  expect(filterGroups(groups, undefined)).toEqual(groups);
  expect(matchesName("*", "anything")).toBe(true);
  expect(filterGroups(["team", "teams", "team-", "team-a"], { only: ["team-*"] })).toEqual(["team-", "team-a"]);
});
