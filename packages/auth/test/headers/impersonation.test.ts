import fc from "fast-check";
import { expect, test } from "vitest";
import {
  escapeExtraKey,
  impersonationHeaders,
  impliedGroups,
  MAX_EXTRA_VALUES,
  MAX_GROUPS,
  parseServiceAccount,
} from "../../src/headers/impersonation.ts";

const REFUSED = expect.objectContaining({ code: "CC_IDENTITY_REFUSED" });
const decoded = (value: string): string => Buffer.from(value, "latin1").toString("utf8");

test("each group has its own line, in order, and commas are data", () => {
  const lines = impersonationHeaders({ username: "alice", groups: ["b", "a,c", ",,,chameleon"], extra: {} });
  expect(lines).toEqual([
    ["Impersonate-User", "alice"],
    ["Impersonate-Group", "b"],
    ["Impersonate-Group", "a,c"],
    ["Impersonate-Group", ",,,chameleon"],
  ]);
});

test("no groups are no line at all", () => {
  expect(impersonationHeaders({ username: "alice", groups: [], extra: {} })).toEqual([["Impersonate-User", "alice"]]);
});

test("names beyond ASCII go as the bytes of UTF-8", () => {
  const [[, value] = ["", ""]] = impersonationHeaders({ username: "Zoë 👩‍💻", groups: [], extra: {} });
  expect(value).toMatch(/^[\x20-\xff]+$/);
  expect(decoded(value)).toBe("Zoë 👩‍💻");
});

test("the key of an extra is escaped, each value has its own line", () => {
  const lines = impersonationHeaders({
    username: "a",
    uid: "1",
    groups: [],
    extra: { "example.org/role": ["x", "y"] },
  });
  expect(lines.slice(1)).toEqual([
    ["Impersonate-Uid", "1"],
    ["Impersonate-Extra-example.org%2Frole", "x"],
    ["Impersonate-Extra-example.org%2Frole", "y"],
  ]);
});

test.each([
  { username: "", groups: [], extra: {} },
  { username: "a\nb", groups: [], extra: {} },
  { username: "a", uid: "", groups: [], extra: {} },
  { username: "a", groups: [""], extra: {} },
  { username: "a", groups: ["x "], extra: {} },
  { username: "a", groups: new Array<string>(MAX_GROUPS + 1).fill("g"), extra: {} },
  { username: "a", groups: [], extra: { "example.org/role": [""] } },
  { username: "a", groups: [], extra: { "Example.org/role": ["x"] } },
  { username: "a", groups: [], extra: { plain: ["x"] } },
  { username: "a", groups: [], extra: { "authentication.kubernetes.io/pod-name": ["x"] } },
])("an identity that cannot be written is refused (%#)", (identity) => {
  expect(() => impersonationHeaders(identity)).toThrow(REFUSED);
});

test("512 groups are the most, and so are 64 values of extras, over all keys", () => {
  const groups = (count: number) =>
    impersonationHeaders({ username: "a", groups: new Array<string>(count).fill("g"), extra: {} });
  expect(groups(512)).toHaveLength(513);
  expect(() => groups(513)).toThrow(REFUSED);
  const extras = (count: number) => {
    const extra = {
      "example.org/a": new Array<string>(32).fill("x"),
      "example.org/b": new Array<string>(count).fill("y"),
    };
    return impersonationHeaders({ username: "a", groups: [], extra });
  };
  expect(MAX_EXTRA_VALUES).toBe(64);
  expect(extras(32)).toHaveLength(65);
  expect(() => extras(33)).toThrow(REFUSED);
});

test("whatever the names are, the lines say exactly the identity or there are none", () => {
  const text = fc.string({ unit: "binary", maxLength: 40 });
  fc.assert(
    fc.property(text, fc.array(text, { maxLength: 5 }), (username, groups) => {
      let lines: ReturnType<typeof impersonationHeaders>;
      try {
        lines = impersonationHeaders({ username, groups, extra: {} });
      } catch (error) {
        expect(error).toEqual(REFUSED);
        return;
      }
      expect(lines.map(([name]) => name)).toEqual(["Impersonate-User", ...groups.map(() => "Impersonate-Group")]);
      expect(lines.map(([, value]) => decoded(value))).toEqual([username, ...groups]);
      for (const [, value] of lines) {
        expect([...value].every((byte) => byte >= " " && byte !== "\x7f")).toBe(true);
        expect(value).not.toMatch(/^ | $/);
      }
    }),
    { numRuns: 10_000 },
  );
});

test("an escaped key holds only bytes a header's name may have, and reads back as it was", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (key) => {
      const escaped = escapeExtraKey(key);
      expect(escaped).toMatch(/^[a-z0-9!#$&'*+\-.^_`|~%A-F]*$/);
      expect(decodeURIComponent(escaped)).toBe(key.toWellFormed());
    }),
  );
});

test("service accounts and nodes are told apart from other users", () => {
  expect(parseServiceAccount("system:serviceaccount:ns:name")).toEqual({ namespace: "ns", name: "name" });
  expect(parseServiceAccount("system:serviceaccount:ns:name:x")).toBeUndefined();
  expect(parseServiceAccount("system:serviceaccount:ns:a.b-c")).toEqual({ namespace: "ns", name: "a.b-c" });
  for (const name of [
    "Ns:name",
    "ns:Name",
    "ns:",
    ":name",
    "n.s:name",
    "-ns:name",
    "ns:a..b",
    `ns:${"a".repeat(254)}`,
  ]) {
    expect(parseServiceAccount(`system:serviceaccount:${name}`)).toBeUndefined();
  }
  expect(parseServiceAccount("alice")).toBeUndefined();
  expect(impliedGroups("system:serviceaccount:a:b")).toEqual({
    groups: ["system:serviceaccounts", "system:serviceaccounts:a"],
    always: true,
  });
  expect(impliedGroups("system:node:n")).toEqual({ groups: ["system:nodes"], always: false });
  for (const name of ["alice", "system:node:", "system:admin"]) expect(impliedGroups(name)).toBeUndefined();
  const around = ["x system:node:n", "xsystem:serviceaccount:a:b", "system:node:n\nx", "system:serviceaccount:a:"];
  for (const name of around) expect(impliedGroups(name)).toBeUndefined();
});

test("a key of an extra needs a domain unless the caller asked for it", () => {
  const identity = {
    username: "a",
    groups: [],
    extra: { key1: ["x"], "authentication.kubernetes.io/pod-name": ["p"] },
  };
  expect(() => impersonationHeaders(identity)).toThrow(REFUSED);
  expect(impersonationHeaders(identity, { anyExtraKey: true }).slice(1)).toEqual([
    ["Impersonate-Extra-key1", "x"],
    ["Impersonate-Extra-authentication.kubernetes.io%2Fpod-name", "p"],
  ]);
  expect(() => impersonationHeaders({ ...identity, extra: { "": ["x"] } }, { anyExtraKey: true })).toThrow(REFUSED);
});
