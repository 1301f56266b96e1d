import type { Principal } from "@cluster-connect/auth";
import { expect, test } from "vitest";
import { callersIdentity, type IdentityRules, sentIdentity } from "../../src/admission/identity.ts";

const RULES: IdentityRules = {
  mode: "constrained",
  extraDomain: "connect.example.org",
  extraKeys: [],
  clusterId: "demo",
  issuers: {},
};
const REFUSED = expect.objectContaining({ code: "CC_IDENTITY_REFUSED" });

function principal(changes: Partial<Principal> = {}): Principal {
  const expiresAt = new Date(0);
  return {
    issuer: "https://i",
    subject: "s",
    username: "alice",
    groups: ["a"],
    extra: {},
    expiresAt,
    claims: {},
    ...changes,
  };
}

test.each([
  { username: "system:admin" },
  { username: "System:admin" },
  { groups: ["a", "system:masters"] },
  { username: " a" },
])("a name that could be another one is refused (%#)", (changes) => {
  expect(() => callersIdentity(principal(changes), "issuer", RULES)).toThrow(REFUSED);
});

test("an issuer may be allowed system names by a list of its own", () => {
  const rules = { ...RULES, issuers: { "https://i": { allowedSystemNames: ["system:team:*"] } } };
  expect(callersIdentity(principal({ groups: ["system:team:a"] }), "issuer", rules).groups).toEqual(["system:team:a"]);
  expect(() => callersIdentity(principal({ groups: ["system:masters"] }), "issuer", rules)).toThrow(REFUSED);
  const other = principal({ issuer: "https://other", groups: ["system:team:a"] });
  expect(() => callersIdentity(other, "issuer", rules)).toThrow(REFUSED);
});

test("groups that the issuer's filter leaves out are not looked at any more", () => {
  const rules = { ...RULES, issuers: { "https://i": { allowedSystemNames: [], groups: ["team-*"] } } };
  const groups = ["system:masters", "team-b", "x", "team-a"];
  expect(callersIdentity(principal({ groups }), "issuer", rules).groups).toEqual(["team-b", "team-a"]);
});

test("the cluster itself may name its service accounts and nothing else of its own", () => {
  const account = principal({ username: "system:serviceaccount:a:b", groups: [] });
  expect(callersIdentity(account, "cluster", RULES).username).toBe("system:serviceaccount:a:b");
  expect(() => callersIdentity(account, "issuer", RULES)).toThrow(REFUSED);
  expect(() => callersIdentity(principal({ username: "system:admin" }), "cluster", RULES)).toThrow(REFUSED);
});

test.each(["issuer", "subject", "cluster", "session", "correlation-id", "impersonated-by"])(
  "an issuer cannot map our own extra %s",
  (name) => {
    const extra = { [`connect.example.org/${name}`]: ["x"] };
    expect(() => callersIdentity(principal({ extra }), "issuer", RULES)).toThrow(REFUSED);
  },
);

test("extras say where a request came from, beside those of the issuer", () => {
  const caller = { username: "alice", groups: ["a"], extra: { "example.org/x": ["1"] } };
  const origin = { sessionId: "s-1", correlationId: "c-1" };
  expect(sentIdentity(caller, undefined, { principal: principal(), origin }, RULES)).toEqual({
    username: "alice",
    groups: ["a"],
    extra: {
      "example.org/x": ["1"],
      "connect.example.org/issuer": ["https://i"],
      "connect.example.org/subject": ["s"],
      "connect.example.org/cluster": ["demo"],
      "connect.example.org/session": ["s-1"],
      "connect.example.org/correlation-id": ["c-1"],
    },
  });
});

test.each([["system:nodes"], ["system:nodes", "system:authenticated"]])(
  "constrained, a node that an issuer names has the apiserver's own group or none of our trust (%#)",
  (...groups) => {
    const node = { username: "system:node:n1", groups, extra: {} };
    const from = { principal: principal(), origin: {} };
    expect(sentIdentity(node, undefined, from, RULES)).toEqual({ username: "system:node:n1", groups: [], extra: {} });
    expect(() => sentIdentity({ ...node, groups: [] }, undefined, from, RULES)).toThrow(REFUSED);
    expect(() => sentIdentity({ ...node, groups: ["dev"] }, undefined, from, RULES)).toThrow(REFUSED);
  },
);

test("constrained, a service account with groups of its own is refused rather than cut down", () => {
  const caller = { username: "system:serviceaccount:a:b", groups: ["x"], extra: {} };
  expect(() => sentIdentity(caller, undefined, { principal: principal(), origin: {} }, RULES)).toThrow(REFUSED);
  const legacy = sentIdentity(caller, undefined, { principal: principal(), origin: {} }, { ...RULES, mode: "legacy" });
  expect(legacy.groups).toEqual(["x"]);
});
