import { readFileSync } from "node:fs";
import { rootCertificates } from "node:tls";
import { parseAuthenticationConfiguration } from "@cluster-connect/auth";
import fc from "fast-check";
import { expect, test } from "vitest";

const HEAD = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n";
const ISSUER = { url: "https://example.com", audiences: ["my-app"] };
const USERNAME = { claim: "sub", prefix: "" };

function parse(entry: object, options = {}): ReturnType<typeof parseAuthenticationConfiguration> {
  return parseAuthenticationConfiguration(`${HEAD}jwt: ${JSON.stringify([entry])}`, options);
}

function problemsOf(attempt: () => unknown): readonly string[] {
  try {
    attempt();
  } catch (error) {
    expect(error).toMatchObject({ name: "ConnectError", code: "CC_CONFIG_INVALID" });
    const message = error instanceof Error ? error.message : "";
    expect(message).not.toContain("\n");
    return message.replace("AuthenticationConfiguration is wrong: ", "").split("; ");
  }
  return [];
}

const withIssuer = (issuer: object) => ({ issuer: { ...ISSUER, ...issuer }, claimMappings: { username: USERNAME } });
const withMappings = (claimMappings: object) => ({ issuer: ISSUER, claimMappings });
const withRules = (claimValidationRules: unknown) => ({
  ...withMappings({ username: USERNAME }),
  claimValidationRules,
});

test("the complete example maps claims by expression and checks the user", () => {
  const text = readFileSync(new URL("authentication-config.yaml", import.meta.url), "utf8");
  const { issuers } = parseAuthenticationConfiguration(text);
  const claims = { iss: "https://example.com", sub: "119abc", hd: "example.com", exp: 20, nbf: 10, username: "foo" };
  const more = { roles: "a,b", other_roles: "c", is_admin: true, tenant: "t1" };
  expect(issuers[0]).toMatchObject({ url: "https://example.com", discoveryUrl: "https://discovery.example.com/d" });
  issuers[0]?.validate?.(claims);
  expect(issuers[0]?.map({ ...claims, ...more })).toEqual({
    username: "foo:external-user",
    groups: ["a", "b", "c", "admin"],
    uid: "119abc",
    extra: { "example.com/tenant": ["t1"] },
  });
});

test.each(["apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1"])("%s is read", (apiVersion) => {
  expect(parseAuthenticationConfiguration(`apiVersion: ${apiVersion}\nkind: AuthenticationConfiguration`)).toEqual({
    issuers: [],
  });
});

test("every problem is named with its path in one error", () => {
  const text = `
apiVersion: v2
jwt:
  - issuer: { url: "http://example.com", audiences: [a, b, a], audienceMatchPolcy: MatchAny }
    claimMappings:
      username: { claim: sub }
      groups: { claim: groups, expression: claims.groups }
      extra: [{ key: Example.com/x, valueExpression: claims. }]
    claimValidationRules: [{}]
  - claimMappings: [1]
    userValidationRules: [{ expression: user.username }]
`;
  expect(problemsOf(() => parseAuthenticationConfiguration(text))).toEqual([
    "apiVersion: must be apiserver.config.k8s.io/v1 or apiserver.config.k8s.io/v1beta1",
    "kind: must be AuthenticationConfiguration",
    "jwt[0].issuer.url: must be an https URL",
    "jwt[0].issuer.audiences[2]: is listed twice",
    "jwt[0].issuer.audienceMatchPolicy: must be MatchAny when there are several audiences",
    "jwt[0].issuer.audienceMatchPolcy: is not a known field",
    "jwt[0].claimValidationRules[0]: claim or expression is required",
    "jwt[0].claimMappings.username.prefix: is required with claim",
    '"" for none',
    "jwt[0].claimMappings.groups: claim and expression cannot both be set",
    "jwt[0].claimMappings.extra[0].key: must be lower-case",
    expect.stringMatching(/^jwt\[0\]\.claimMappings\.extra\[0\]\.valueExpression: The expression is wrong: /),
    "jwt[1].issuer: is required",
    "jwt[1].claimMappings: must be an object",
    "jwt[1].claimMappings.username: is required",
    "jwt[1].userValidationRules[0].expression: must be of type bool",
    expect.stringMatching(/compare/),
  ]);
});

test.each([
  [{ url: "" }, "jwt[0].issuer.url: is required"],
  [{ url: "example.com" }, "jwt[0].issuer.url: must be a URL"],
  [{ url: "https://a:b@example.com" }, "jwt[0].issuer.url: must not hold a username or password"],
  [{ url: "https://example.com?a" }, "jwt[0].issuer.url: must not have a query"],
  [{ url: "https://example.com#a" }, "jwt[0].issuer.url: must not have a fragment"],
  [{ url: "http://127.0.0.1:1" }, "jwt[0].issuer.url: must be an https URL"],
  [{ url: 7 }, "jwt[0].issuer.url: must be a string"],
  [{ discoveryURL: "https://example.com/" }, "jwt[0].issuer.discoveryURL: must differ from url"],
  [{ discoveryURL: "http://example.com/d" }, "jwt[0].issuer.discoveryURL: must be an https URL"],
  [{ certificateAuthority: "x" }, "jwt[0].issuer.certificateAuthority: must be PEM certificates"],
  [{ audiences: [] }, "jwt[0].issuer.audiences: must have at least one entry"],
  [{ audiences: [""] }, "jwt[0].issuer.audiences[0]: must not be empty"],
  [{ audiences: "a" }, "jwt[0].issuer.audiences: must be a list"],
  [{ audienceMatchPolicy: "MatchAll" }, "jwt[0].issuer.audienceMatchPolicy: must be MatchAny or left out"],
  [{ egressSelectorType: "cluster" }, "jwt[0].issuer.egressSelectorType: is not supported"],
])("issuer %j is refused", (issuer, problem) => {
  expect(problemsOf(() => parse(withIssuer(issuer)))).toContain(problem);
});

test.each([
  [{}, "username: is required"],
  [{ username: {} }, "username: claim or expression is required"],
  [{ username: { claim: "sub" } }, "username.prefix: is required with claim"],
  [{ username: { expression: "claims.sub", prefix: "" } }, "username.prefix: cannot be set with expression"],
  [
    { username: { claim: "sub", prefix: "", expression: "claims.a" } },
    "username: claim and expression cannot both be set",
  ],
  [{ username: USERNAME, groups: { claim: "g" } }, "groups.prefix: is required with claim"],
  [{ username: USERNAME, uid: { claim: "a", expression: "claims.a" } }, "uid: claim and expression cannot both be set"],
  [
    { username: { expression: "claims.email" } },
    "username.expression: uses claims.email: an expression must use claims.email_verified too",
  ],
  [
    { username: USERNAME, extra: [{ key: "role", valueExpression: "claims.a" }] },
    "extra[0].key: must be a domain and a path, as in example.org/role",
  ],
  [
    { username: USERNAME, extra: [{ key: "x.k8s.io/a", valueExpression: "claims.a" }] },
    "extra[0].key: must not lie in kubernetes.io or k8s.io, which are reserved",
  ],
  [{ username: USERNAME, extra: [{ key: "a.b/c" }] }, "extra[0].valueExpression: is required"],
])("claim mappings %j are refused", (mappings, problem) => {
  expect(problemsOf(() => parse(withMappings(mappings)))).toContain(`jwt[0].claimMappings.${problem}`);
});

test.each([
  [[{ claim: "a", expression: "true" }], "[0]: claim and expression cannot both be set"],
  [[{ claim: "a", message: "m" }], "[0].message: cannot be set with claim"],
  [[{ expression: "true", requiredValue: "v" }], "[0].requiredValue: cannot be set with expression"],
  [[{ claim: "a" }, { claim: "a" }], "[1].claim: is listed twice"],
  [[{ expression: "true" }, { expression: "true" }], "[1].expression: is listed twice"],
  [[{ expression: "claims.?email_verified.orValue(true)" }], "[0].expression: must be of type bool"],
  [[{ expression: "true", extra: 1 }], "[0].extra: is not a known field"],
  ["x", ": must be a list"],
])("claim rules %j are refused", (rules, problem) => {
  expect(problemsOf(() => parse(withRules(rules)))).toContain(`jwt[0].claimValidationRules${problem}`);
});

test("the email rule is satisfied by a claim rule, by the username or by an extra", () => {
  const check = "claims.?email_verified.orValue(true) == true";
  const byRule = {
    ...withMappings({ username: { expression: "claims.email" } }),
    claimValidationRules: [{ expression: check }],
  };
  const byName = withMappings({ username: { expression: `${check} ? claims.email : "nobody"` } });
  const extra = [{ key: "a.b/c", valueExpression: "string(claims.email_verified)" }];
  const byExtra = withMappings({ username: { expression: "claims.email" }, extra });
  for (const entry of [byRule, byName, byExtra]) expect(problemsOf(() => parse(entry))).toEqual([]);
});

test("two entries cannot share an issuer or a discovery address", () => {
  const entry = withIssuer({ discoveryURL: "https://d.example.com/x" });
  const text = `${HEAD}jwt: ${JSON.stringify([entry, entry])}`;
  expect(problemsOf(() => parseAuthenticationConfiguration(text))).toEqual([
    "jwt[1].issuer.url: is listed twice",
    "jwt[1].issuer.discoveryURL: is listed twice",
  ]);
});

test("a loopback http issuer needs the option, and the option opens nothing else", () => {
  const options = { allowInsecureLoopback: true };
  for (const url of ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:1"]) {
    expect(problemsOf(() => parse(withIssuer({ url }), options))).toEqual([]);
  }
  for (const url of [
    "http://example.com",
    "http://127.0.0.1.example.com",
    "http://localhost.example.com",
    "ftp://localhost",
  ]) {
    expect(problemsOf(() => parse(withIssuer({ url }), options))).toEqual(["jwt[0].issuer.url: must be an https URL"]);
  }
});

test("a certificate authority is kept as PEM", () => {
  const certificateAuthority = rootCertificates.slice(0, 2).join("\n");
  expect(parse(withIssuer({ certificateAuthority })).issuers[0]).toMatchObject({ certificateAuthority });
});

test.each([
  ["kind: a\nkind: b", /unique/],
  ["a: [", /not YAML at character/],
  ["---\n---\n", /not YAML/],
  ["a: &a [x]\nb: [*a", /not YAML/],
  ["", /must be an object/],
  [`${HEAD}anonymous: { enabled: true }`, /anonymous\.enabled: is not supported/],
  [`${HEAD}jwt: [${"{},".repeat(65)}]`, /at most 64 entries/],
  [`${HEAD}__proto__: { jwt: [] }`, /__proto__: is not a known field/],
  ["x".repeat(2_000_000), /more than 1048576/],
])("%# a wrong file is refused", (text, words) => {
  expect(problemsOf(() => parseAuthenticationConfiguration(text)).join("; ")).toMatch(words);
});

test("an alias bomb is refused without being expanded", () => {
  const levels = Array.from({ length: 30 }, (_, level) => `a${level}: &a${level} [${`*a${level - 1},`.repeat(9)}]`);
  const text = `a0: &a0 [x]\n${levels.slice(1).join("\n")}`;
  expect(problemsOf(() => parseAuthenticationConfiguration(text))).toEqual(["the file has too many aliases"]);
});

test("no text makes the parser fail with anything but named problems", () => {
  const key = fc.constantFrom("apiVersion", "kind", "jwt", "issuer", "url", "claimMappings", "username", "claim", "x");
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(fc.jsonValue(), fc.dictionary(key, tie("tree")), fc.array(tie("tree"), { maxLength: 3 })),
  }));
  const text = fc.oneof(
    fc.string(),
    tree.map((value) => JSON.stringify(value) ?? ""),
  );
  fc.assert(
    fc.property(text, (input) => {
      expect(problemsOf(() => parseAuthenticationConfiguration(input))).not.toEqual([]);
    }),
    { numRuns: 1_000 },
  );
});

test("a wrong value anywhere in a valid file is a problem with that path", () => {
  const valid = {
    issuer: { ...ISSUER, discoveryURL: "https://d.example.com" },
    claimValidationRules: [{ expression: "true", message: "m" }],
    claimMappings: { username: USERNAME, groups: USERNAME, uid: { claim: "sub" } },
  };
  const paths = [
    "issuer.url",
    "issuer.audiences",
    "claimValidationRules",
    "claimMappings.username.claim",
    "claimMappings.uid",
  ];
  fc.assert(
    fc.property(fc.constantFrom(...paths), fc.constantFrom(7, true, -1.5), (path, wrong) => {
      const entry = structuredClone(valid);
      const names = path.split(".");
      const last = names.pop() ?? "";
      const parent = names.reduce<object>((value, name) => Reflect.get(value, name), entry);
      Reflect.set(parent, last, wrong);
      expect(problemsOf(() => parse(entry)).join("; ")).toContain(`jwt[0].${path}: must be`);
    }),
  );
});
