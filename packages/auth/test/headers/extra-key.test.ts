import fc from "fast-check";
import { expect, test } from "vitest";
import { extraKeyFault } from "../../src/headers/extra-key.ts";

const label = (length: number): string => "a".repeat(length);

test.each([
  "example.org/role",
  "e/r",
  "sub-domain.example.org/a/b-c._~%21!$&'()*+,;=:",
  "notkubernetes.io/x",
  "k8s.io.example.org/x",
  `${label(253)}/x`,
])("%s is a key", (key) => {
  expect(extraKeyFault(key)).toBeUndefined();
});

test.each([
  ["", "must be a domain and a path, as in example.org/role"],
  ["plain", "must be a domain and a path, as in example.org/role"],
  ["/role", "must begin with a domain name"],
  ["Example.org/role", "must be lower-case"],
  ["example.org/Role", "must be lower-case"],
  ["-example.org/role", "must begin with a domain name"],
  ["example.org-/role", "must begin with a domain name"],
  [".example.org/role", "must begin with a domain name"],
  ["example..org/role", "must begin with a domain name"],
  ["ex ample/role", "must begin with a domain name"],
  ["%example/role", "must begin with a domain name"],
  [`${label(254)}/x`, "must begin with a domain name"],
  ["kubernetes.io/role", "must not lie in kubernetes.io or k8s.io, which are reserved"],
  ["k8s.io/role", "must not lie in kubernetes.io or k8s.io, which are reserved"],
  ["authentication.kubernetes.io/role", "must not lie in kubernetes.io or k8s.io, which are reserved"],
  ["example.org/", "must have a path of URL characters after the domain"],
  ["example.org/ro le", "must have a path of URL characters after the domain"],
  ["example.org/#role", "must have a path of URL characters after the domain"],
  ["example.org/role#", "must have a path of URL characters after the domain"],
  ["example.org/ r", "must have a path of URL characters after the domain"],
])("%j is none: it %s", (key, fault) => {
  expect(extraKeyFault(key)).toBe(fault);
});

test("no key with an upper-case letter, a blank or a control character is one", () => {
  const wrong = fc.constantFrom("A", "Z", " ", "\t", "\n", "\0", "é");
  fc.assert(
    fc.property(fc.string(), wrong, fc.string(), (before, character, after) => {
      expect(extraKeyFault(`example.org/${before}${character}${after}`)).toBeDefined();
    }),
  );
});
