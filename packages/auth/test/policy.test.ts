import { type Grant, mayReach } from "@cluster-connect/auth";
import fc from "fast-check";
import { expect, test } from "vitest";

const NOW = new Date("2026-01-01T12:00:00Z");
const ann = { username: "oidc:ann", groups: ["oidc:dev", "oidc:ops"] };

test("without grants nobody reaches anything", () => {
  expect(mayReach(ann, "one", [], NOW)).toEqual({
    allowed: false,
    reason: "no grant names this caller and this cluster",
  });
});

test.each<[string, Grant]>([
  ["user", { clusters: ["one"], users: ["oidc:ann"] }],
  ["group", { clusters: ["one", "two"], groups: ["oidc:ops"] }],
  ["user on every cluster", { clusters: ["*"], users: ["oidc:ann"] }],
])("a grant for the %s allows", (_case, grant) => {
  expect(mayReach(ann, "one", [grant], NOW).allowed).toBe(true);
});

test.each<[string, Grant]>([
  ["another cluster", { clusters: ["two"], users: ["oidc:ann"] }],
  ["nobody", { clusters: ["one"] }],
  ["another spelling", { clusters: ["one"], users: ["oidc:Ann"] }],
  ["a star as user, which is no wildcard", { clusters: ["one"], users: ["*"], groups: ["*"] }],
  ["a part of the cluster's name", { clusters: ["on*", "on"], users: ["oidc:ann"] }],
  ["no cluster", { clusters: [], users: ["oidc:ann"] }],
  ["a user named as a group", { clusters: ["one"], users: ["oidc:dev"], groups: ["oidc:ann"] }],
])("a grant for %s does not", (_case, grant) => {
  expect(mayReach(ann, "one", [grant], NOW).allowed).toBe(false);
});

test("a grant ends at its moment, and the reason says so", () => {
  const grant = { clusters: ["one"], users: ["oidc:ann"], expiresAt: NOW };
  expect(mayReach(ann, "one", [grant], new Date(NOW.getTime() - 1)).allowed).toBe(true);
  expect(mayReach(ann, "one", [grant], NOW)).toEqual({ allowed: false, reason: "the grant has expired" });
  expect(mayReach(ann, "one", [grant, { ...grant, expiresAt: new Date(NOW.getTime() + 1) }], NOW).allowed).toBe(true);
});

test("a further grant never takes a permission away", () => {
  const name = fc.constantFrom("*", "one", "two", "oidc:ann", "oidc:dev");
  const grant: fc.Arbitrary<Grant> = fc.record({
    clusters: fc.array(name),
    users: fc.array(name),
    groups: fc.array(name),
  });
  fc.assert(
    fc.property(fc.array(grant), grant, (grants, more) => {
      if (mayReach(ann, "one", grants, NOW).allowed)
        expect(mayReach(ann, "one", [more, ...grants], NOW).allowed).toBe(true);
    }),
  );
});
