import type { Principal } from "@cluster-connect/auth";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decide, nextExpiry } from "../../src/grants/decide.ts";
import { compileGrant, GRANT_SCHEMA, type GrantSpec } from "../../src/grants/grant.ts";

const NOW = new Date("2026-03-01T00:00:00Z");
const ISSUER = "https://login.example.com";
const CLUSTER = { id: "one", labels: { env: "prod" }, upstream: "kubernetes" };

const ann: Principal = {
  issuer: ISSUER,
  subject: "ann",
  username: "oidc:ann",
  groups: ["oidc:dev", "oidc:ops"],
  extra: {},
  expiresAt: new Date("2026-03-01T01:00:00Z"),
  claims: { sub: "ann", azp: "kubectl", repository: "org/app", environment: "production" },
};
const robot: Principal = {
  ...ann,
  subject: "robot",
  username: "oidc:robot",
  groups: [],
  claims: { sub: "robot", azp: "robot" },
};

const grant = (spec: GrantSpec, id = "g") => compileGrant(id, "config", spec);
const allows = (spec: GrantSpec, principal = ann, now = NOW): boolean =>
  decide(principal, CLUSTER, [grant(spec)], now).allowed;

test("nothing is allowed without a grant", () => {
  expect(decide(ann, CLUSTER, [], NOW)).toEqual({
    allowed: false,
    reason: "no grant names this caller and this cluster",
    near: [],
  });
});

describe("an upstream beside the apiserver", () => {
  const to = (upstream: string | undefined, ...specs: readonly unknown[]) =>
    decide(
      ann,
      { ...CLUSTER, upstream },
      specs.map((spec, index) => grant(GRANT_SCHEMA.parse(spec), `g${index}`)),
      NOW,
    );
  const base = { clusters: ["one"], users: ["oidc:ann"] };

  test("is granted by name alone, by no grant that is silent about it", () => {
    expect(to("db", base).allowed).toBe(false);
    expect(to("db", { ...base, upstreams: ["db"] }).allowed).toBe(true);
    expect(to("db", { ...base, upstreams: ["db2", "d"] }).allowed).toBe(false);
    expect(to("db", base, { ...base, upstreams: ["db"] }).allowed).toBe(true);
  });

  test("does not bring the apiserver with it", () => {
    expect(to("kubernetes", { ...base, upstreams: ["db"] }).allowed).toBe(false);
    expect(to("kubernetes", { ...base, upstreams: ["db", "kubernetes"] }).allowed).toBe(true);
  });

  test("is granted by claims as well, and only where they hold", () => {
    const spec = { clusters: ["one"], issuer: ISSUER, upstreams: ["db"] };
    expect(to("db", { ...spec, condition: "claims.environment == 'production'" }).allowed).toBe(true);
    expect(to("db", { ...spec, condition: "claims.environment == 'test'" }).allowed).toBe(false);
  });

  test("that is asked for in general is any that is granted", () => {
    expect(to(undefined, { ...base, upstreams: ["db"] }).allowed).toBe(true);
    expect(to(undefined).allowed).toBe(false);
  });

  test("that one grant lacks is a near miss, without the names that it has", () => {
    const decision = to("db", { ...base, upstreams: ["secret-db"] });
    expect(decision).toMatchObject({
      allowed: false,
      reason: "no grant names this caller and the upstream db",
      near: [{ lack: "upstream", text: "it is for other upstreams than db" }],
    });
  });

  test.each([["probe"], ["*"], ["Db"], [""], ["a".repeat(64)], ["-a"]])("cannot be granted as %j", (name) => {
    expect(GRANT_SCHEMA.safeParse({ ...base, upstreams: [name] }).success).toBe(false);
  });

  test("names are at least one and at most a hundred, each of at most 63 characters", () => {
    const names = (count: number) => Array.from({ length: count }, (_, index) => `u${index}`);
    expect(GRANT_SCHEMA.safeParse({ ...base, upstreams: names(100) }).success).toBe(true);
    expect(GRANT_SCHEMA.safeParse({ ...base, upstreams: names(101) }).success).toBe(false);
    expect(GRANT_SCHEMA.safeParse({ ...base, upstreams: [] }).success).toBe(false);
    expect(GRANT_SCHEMA.safeParse({ ...base, upstreams: ["a".repeat(63)] }).success).toBe(true);
  });
});

describe("a grant allows", () => {
  test.each<[string, GrantSpec]>([
    ["a user by name", { clusters: ["one"], users: ["oidc:ann"] }],
    ["a group on every cluster", { clusters: ["*"], groups: ["oidc:dev"] }],
    ["clusters by label", { clusterSelector: "env in (prod)", users: ["oidc:ann"] }],
    ["claims", { clusters: ["*"], issuer: ISSUER, condition: 'claims.repository == "org/app"' }],
    [
      "a group with a condition",
      { clusters: ["*"], groups: ["oidc:dev"], issuer: ISSUER, condition: "claims.sub != ''" },
    ],
  ])("%s", (_name, spec) => {
    expect(allows(GRANT_SCHEMA.parse(spec))).toBe(true);
  });

  test("a program that acts for itself, and no person that signed in through that program", () => {
    const spec = { clusters: ["*"], issuer: ISSUER, servicePrincipals: ["robot", "kubectl"] };
    expect(allows(spec, robot)).toBe(true);
    expect(allows(spec, ann)).toBe(false);
  });

  test("an app of Entra by its client id, and no person whose token the app holds", () => {
    const spec = { clusters: ["*"], issuer: ISSUER, servicePrincipals: ["client"] };
    const claims = { tid: "t", azp: "client", oid: "object", sub: "object" };
    expect(allows(spec, { ...robot, subject: "object", claims })).toBe(true);
    expect(allows(spec, { ...robot, subject: "object", claims: { ...claims, scp: "openid" } })).toBe(false);
    expect(allows(spec, { ...robot, subject: "pair", claims: { ...claims, sub: "pair" } })).toBe(false);
  });
});

describe("a grant does not allow", () => {
  test.each<[string, GrantSpec]>([
    ["another cluster", { clusters: ["two"], users: ["oidc:ann"] }],
    ["other labels", { clusterSelector: "env=dev", users: ["oidc:ann"] }],
    ["another user", { clusters: ["one"], users: ["ann"] }],
    ["a user named as a group", { clusters: ["one"], groups: ["oidc:ann"] }],
    [
      "the same name from another issuer",
      { clusters: ["*"], users: ["oidc:ann"], issuer: "https://other.example.com" },
    ],
    ["a condition that does not hold", { clusters: ["*"], users: ["oidc:ann"], issuer: ISSUER, condition: "false" }],
    ["a condition about a claim that is missing", { clusters: ["*"], issuer: ISSUER, condition: "claims.nope == 'x'" }],
  ])("%s", (_name, spec) => {
    expect(allows(GRANT_SCHEMA.parse(spec))).toBe(false);
  });
});

test("a grant ends at its moment, and the reason says so", () => {
  const spec = { clusters: ["one"], users: ["oidc:ann"], expiresAt: NOW };
  expect(allows(spec, ann, new Date(NOW.getTime() - 1))).toBe(true);
  expect(decide(ann, CLUSTER, [grant(spec)], NOW)).toMatchObject({
    allowed: false,
    reason: "the grant has expired",
    near: [{ lack: "expired", text: "it has expired at 2026-03-01T00:00:00.000Z" }],
  });
});

test("a refusal names the grants that lack one thing only", () => {
  const grants = [
    grant({ clusters: ["two"], users: ["oidc:ann"] }, "other-cluster"),
    grant({ clusters: ["one"], users: ["oidc:bob"] }, "other-caller"),
    grant({ clusters: ["two"], users: ["oidc:bob"] }, "far"),
    grant({ clusters: ["one"], users: ["oidc:ann"], issuer: "https://x.example.com" }, "other-issuer"),
  ];
  const decision = decide(ann, CLUSTER, grants, NOW);
  expect(decision.allowed ? [] : decision.near.map(({ grant: { id }, lack }) => [id, lack])).toEqual([
    ["other-cluster", "cluster"],
    ["other-caller", "caller"],
    ["other-issuer", "condition"],
  ]);
});

test("the next moment at which a grant expires is known", () => {
  const at = (ms: number) => grant({ clusters: ["*"], users: ["a"], expiresAt: new Date(NOW.getTime() + ms) });
  expect(nextExpiry([at(5), at(-5), at(3)], NOW)).toEqual(new Date(NOW.getTime() + 3));
  expect(nextExpiry([at(-5)], NOW)).toBeUndefined();
  // One that expires now has expired.
  expect(nextExpiry([at(0), at(7)], NOW)).toEqual(new Date(NOW.getTime() + 7));
});

describe("the schema refuses", () => {
  test.each<[string, unknown]>([
    ["nobody", { clusters: ["one"] }],
    ["no clusters", { users: ["a"] }],
    ["clusters named twice over", { clusters: ["one"], clusterSelector: "a=b", users: ["a"] }],
    ["a condition without an issuer", { clusters: ["*"], condition: "true" }],
    ["service principals without an issuer", { clusters: ["*"], servicePrincipals: ["a"] }],
    ["a condition that is no CEL", { clusters: ["*"], issuer: ISSUER, condition: "claims." }],
    ["a condition that is no bool", { clusters: ["*"], issuer: ISSUER, condition: "1" }],
    ["a wrong selector", { clusterSelector: "a in b", users: ["a"] }],
    ["a misspelt field", { clusters: ["*"], user: ["a"], users: ["a"] }],
    ["no cluster id", { clusters: ["One"], users: ["a"] }],
  ])("%s", (_name, value) => {
    expect(GRANT_SCHEMA.safeParse(value).success).toBe(false);
  });
});

test("a further grant never takes a permission away", () => {
  const name = fc.constantFrom("*", "one", "two", "oidc:ann", "oidc:dev");
  const any = fc.record({ clusters: fc.array(name), users: fc.array(name), groups: fc.array(name) });
  fc.assert(
    fc.property(fc.array(any), any, (specs, more) => {
      const grants = specs.map((spec) => grant(spec));
      if (!decide(ann, CLUSTER, grants, NOW).allowed) return;
      expect(decide(ann, CLUSTER, [grant(more), ...grants], NOW).allowed).toBe(true);
    }),
  );
});

test.each([
  ["nothing else is missing", { clusters: ["one"] }, 1],
  ["one thing else is missing", { clusters: ["two"] }, 1],
  ["two things else are missing", { clusters: ["two"], upstreams: ["grafana"] }, 0],
] as const)("a condition is evaluated where its answer counts: %s", (_what, spec, times) => {
  let asked = 0;
  const given = grant({ ...spec, issuer: ISSUER, condition: "true" });
  const subject = {
    ...given.subject,
    holds: () => {
      asked += 1;
      return { ok: false, text: "it does not hold" } as const;
    },
  };
  expect(decide(ann, CLUSTER, [{ ...given, subject }], NOW).allowed).toBe(false);
  expect(asked).toBe(times);
});
