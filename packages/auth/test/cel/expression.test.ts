import { describe, expect, test } from "vitest";
import { compileExpression } from "../../src/cel/expression.ts";

const CLAIMS = {
  iss: "https://example.com",
  sub: "119abc",
  aud: "my-app",
  exp: 1_701_107_233,
  iat: 1_701_103_633,
  nbf: 1_701_103_633,
  hd: "example.com",
  username: "foo",
  roles: "foo,bar",
  other_roles: "baz,qux",
  groups: ["dev-a", "ops"],
  is_admin: true,
  tid: "72f988bf",
  "my-claim": { a: { b: "deep" } },
};

describe("claims", () => {
  test.each([
    ["claims.exp - claims.nbf <= 86400", true],
    ['claims.hd == "example.com"', true],
    ['claims.username + ":external-user"', "foo:external-user"],
    ['claims.roles.split(",")', ["foo", "bar"]],
    ['claims.roles.split(",") + claims.other_roles.split(",")', ["foo", "bar", "baz", "qux"]],
    ['claims.roles.split(",") + claims.other_roles.split(",") + (claims.is_admin ? ["admin"] : [])', 5],
    ['has(claims.missing) ? claims.missing : "none"', "none"],
    ["claims.?email_verified.orValue(true) == true", true],
    ['claims.is_admin ? "true" : ""', "true"],
    ["claims.?missing", undefined],
    ['claims.tid in ["72f988bf", "other"]', true],
    ['claims.groups.map(group, "oidc:" + group)', ["oidc:dev-a", "oidc:ops"]],
    ['claims.groups.filter(group, group.matches("^dev-[a-z]$"))', ["dev-a"]],
    ['claims.groups.exists(group, group == "ops")', true],
    ['claims["my-claim"].a.b', "deep"],
    ["string(claims.exp)", "1701107233"],
    ["claims.exp + 3600 > claims.iat", true],
    ['claims.username.replace("o", "0")', "f00"],
    ['claims.sub.matches("a\\\\w+$") && claims.sub.startsWith("119")', true],
    ['"constructor" in claims', false],
    ["has(claims.toString)", false],
    ['claims.roles.find("b[a-z]+")', "bar"],
    ['claims.roles.find("nothing")', ""],
    ['claims.roles.findAll("[a-z]+")', ["foo", "bar"]],
    ['claims.roles.findAll("[a-z]+", 1)', ["foo"]],
    ["claims.username.charAt(2)", "o"],
    ['claims.username.replace("o", "0", 1)', "f0o"],
    ["claims.groups.isSorted()", true],
    ["claims.groups.max()", "ops"],
    ["claims.groups.min()", "dev-a"],
    ['claims.groups.indexOf("ops")', 1n],
    ['["a", "b", "a"].lastIndexOf("a")', 2n],
    ['["a", "b", "a"].distinct()', ["a", "b"]],
    ["[[1], [1], [2]].distinct() == [[1], [2]]", true],
    ['sets.contains([["a"], ["b"]], [["b"]])', true],
    ['sets.contains(claims.groups, ["ops"])', true],
    ['sets.equivalent(claims.groups, ["ops", "dev-a", "ops"])', true],
    ['sets.intersects(claims.groups, ["other"])', false],
  ])("%s", (source, expected) => {
    const value = compileExpression(source, "claims").evaluate(CLAIMS);
    if (typeof expected === "number") expect(value).toHaveLength(expected);
    else expect(value).toEqual(expected);
  });
});

test.each(["claims.list.distinct().size() > 0", "sets.contains(claims.list, [])", "sets.intersects([], claims.list)"])(
  "more lists and maps than may be compared are refused: %s",
  (source) => {
    const expression = compileExpression(source, "claims");
    const claims = (length: number) => ({ ...CLAIMS, list: Array.from({ length }, (_, index) => ({ index })) });
    expect(() => expression.evaluate(claims(1_000))).not.toThrow();
    expect(() => expression.evaluate(claims(1_001))).toThrow(/cannot be evaluated/);
  },
);

test.each([
  ["!user.username.startsWith('system:')", true],
  ["user.groups.all(group, !group.startsWith('system:'))", true],
  ['user.extra["example.com/tenant"][0] == "t1"', true],
  ['user.uid == ""', true],
])("about the user: %s", (source, expected) => {
  const user = { username: "ann", uid: "", groups: ["dev"], extra: { "example.com/tenant": ["t1"] } };
  expect(compileExpression(source, "user").evaluate(user)).toBe(expected);
});

test.each([
  ["", "claims", /is empty/],
  ["claims.a =", "claims", /./],
  ["claim.a", "claims", /Unknown variable: claim/],
  ["user.username", "claims", /Unknown variable: user/],
  ["claims.sub", "user", /Unknown variable: claims/],
  ["user.name == 'x'", "user", /name/],
  ['"a" + 1', "claims", /overload/],
  ["cel.bind(c, claims, c.email)", "claims", /cel\.bind/],
  ["a".repeat(20_000), "claims", /more than 10240 bytes/],
  [`${"(".repeat(300)}1${")".repeat(300)}`, "claims", /./],
] as const)("%j for %s is refused at compile time in one line", (source, scope, words) => {
  let message = "";
  try {
    compileExpression(source, scope);
  } catch (error) {
    expect(error).toMatchObject({ code: "CC_CONFIG_INVALID" });
    message = String(error);
  }
  expect(message).toMatch(words);
  expect(message).not.toContain("\n");
});

test("an expression says which claims it selects, in each spelling", () => {
  const source =
    'claims.a + claims["b"] + claims.?c.orValue("") + (has(claims.d) ? claims[?"e"].orValue("") : "claims.f")';
  expect([...compileExpression(source, "claims").claims].sort()).toEqual(["a", "b", "c", "d", "e"]);
});

test("a regular expression that makes a backtracking engine hang ends at once", () => {
  const expression = compileExpression('claims.sub.matches("^(a+)+$")', "claims");
  const startedAt = performance.now();
  expect(expression.evaluate({ sub: `${"a".repeat(40_000)}b` })).toBe(false);
  expect(performance.now() - startedAt).toBeLessThan(60_000);
});

test.each(["(?=a)", "(a)\\\\1", "(", "a".repeat(1_025)])(
  "the regular expression %.20j is refused at compile time",
  (pattern) => {
    expect(() => compileExpression(`claims.sub.matches("${pattern}")`, "claims")).toThrow(/RE2/);
  },
);

test("a regular expression that is only known with the token is refused with it", () => {
  const expression = compileExpression("claims.sub.matches(claims.pattern)", "claims");
  expect(expression.evaluate({ sub: "abc", pattern: "b" })).toBe(true);
  expect(() => expression.evaluate({ sub: "abc", pattern: "(?=a)" })).toThrow(/RE2/);
});

test("loops within loops over a long list are refused before they run", () => {
  const source = "claims.g.all(a, claims.g.all(b, claims.g.exists(c, c == a || c == b)))";
  const expression = compileExpression(source, "claims");
  expect(expression.evaluate({ g: ["x", "y"] })).toBe(true);
  const groups = Array.from({ length: 5_000 }, (_, index) => `${index}`);
  expect(() => expression.evaluate({ g: groups })).toThrow(/costs too much/);
});

test("a missing claim is an error that shows no value", () => {
  const expression = compileExpression('claims.missing + "x"', "claims");
  expect(() => expression.evaluate({ sub: "secret" })).toThrow(/cannot be evaluated \(no_such_key\)$/);
});

test("a pattern that RE2 does not take is refused when the file is read", () => {
  expect(() => compileExpression('claims.a.find("(?=x)")', "claims")).toThrow(/RE2 does not take/);
});

test.each(["claims.l.min()", "claims.a.charAt(9)", "claims.a.find(claims.p)"])(
  "%s without an answer refuses",
  (source) => {
    const expression = compileExpression(source, "claims");
    expect(() => expression.evaluate({ l: [], a: "x", p: "(" })).toThrow(
      expect.objectContaining({ code: "CC_IDENTITY_REFUSED" }),
    );
  },
);
