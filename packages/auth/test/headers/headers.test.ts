import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type HeaderLines,
  headerTokens,
  headerValues,
  isIdentityHeader,
  isImpersonationHeader,
  toHeaderLines,
  toRawHeaders,
  withoutHopByHop,
  withoutIdentity,
} from "../../src/headers/headers.ts";

const IDENTITY = [
  "Authorization",
  "Forwarded",
  "X-Real-Ip",
  "Audit-ID",
  "Impersonate-User",
  "Impersonate-Group",
  "Impersonate-Uid",
  "Impersonate-Extra-scopes",
  "Impersonate-Extra-a%2fb",
  "X-Remote-User",
  "X-Remote-Group",
  "X-Remote-Extra-x",
  "X-Forwarded-For",
  "X-Forwarded-User",
  "Proxy-Authorization",
  "True-Client-Ip",
  "X-Client-Cert",
  "X-Client-Certificate-Subject",
  "X-Ssl-Client-S-Dn",
  "Impersonate",
  "X-Remote",
  "X-Forwarded",
];

/** The same name in any case, with `_` for some dashes, with blanks the parser would not let through. */
const disguised = fc
  .tuple(fc.constantFrom(...IDENTITY), fc.infiniteStream(fc.boolean()), fc.constantFrom("", " ", "\t"))
  .map(([name, flips, blank]) => {
    const characters = [...name].map((character) => {
      const flip = flips.next().value === true;
      if (character === "-") return flip ? "_" : "-";
      return flip ? character.toUpperCase() : character.toLowerCase();
    });
    return blank + characters.join("") + blank;
  });

test.each(IDENTITY)("%s is identity", (name) => {
  expect(isIdentityHeader(name)).toBe(true);
});

test.each(["Accept", "Content-Type", "User-Agent", "X-Impersonate-User", "Kubectl-Command", "X-Remoteness"])(
  "%s is no identity",
  (name) => {
    expect(isIdentityHeader(name)).toBe(false);
  },
);

test("no disguise brings an identity header through", () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(disguised, fc.constantFrom("Accept", "X-A"))), (names) => {
      const lines: HeaderLines = names.map((name) => [name, "x"]);
      const left = withoutIdentity(lines).map(([name]) => name);
      expect(left).toEqual(names.filter((name) => name === "Accept" || name === "X-A"));
    }),
    { numRuns: 10_000 },
  );
});

test("an impersonation header is recognised in every disguise", () => {
  expect(["Impersonate-User", "IMPERSONATE_GROUP", "impersonate", "Impersonate-"].every(isImpersonationHeader)).toBe(
    true,
  );
  expect(["X-Impersonate-User", "Impersonated"].some(isImpersonationHeader)).toBe(false);
});

describe("withoutHopByHop", () => {
  test("drops the fixed names and what Connection names, over all its lines", () => {
    const lines: HeaderLines = [
      ["connection", "close, X-A"],
      ["Connection", " x-b ,,"],
      ["X-A", "1"],
      ["X-B", "2"],
      ["X_B", "2"],
      ["TE", "trailers"],
      ["Transfer-Encoding", "chunked"],
      ["Upgrade", "h2c"],
      ["Accept", "a"],
    ];
    expect(withoutHopByHop(lines)).toEqual([["Accept", "a"]]);
  });

  test.each([
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "Proxy-Authenticate",
    "Proxy-Authentication-Info",
    "Proxy-Authorization",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "HTTP2-Settings",
    "Expect",
    "Alt-Svc",
  ])("drops %s, which nothing names", (name) => {
    expect(withoutHopByHop([[name, "x"]])).toEqual([]);
  });

  test("keeps order and repetition of the rest", () => {
    const lines: HeaderLines = [
      ["B", "1"],
      ["A", "2"],
      ["B", "3"],
    ];
    expect(withoutHopByHop(lines)).toEqual(lines);
  });
});

test("values come in order, whatever the case of the name", () => {
  const lines: HeaderLines = [
    ["A", "1"],
    ["b", "2"],
    ["a", "3"],
  ];
  expect(headerValues(lines, "A")).toEqual(["1", "3"]);
  expect(headerTokens([["Connection", "Upgrade , close"]], "connection")).toEqual(["upgrade", "close"]);
  expect(headerTokens([["Connection", " two words\t,,"]], "connection")).toEqual(["two words"]);
});

test("a name that has no value behind it is no line", () => {
  expect(toHeaderLines(["A", "1", "B"])).toEqual([["A", "1"]]);
});

test("raw headers and lines are two forms of one thing", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.string(), fc.string())), (lines) => {
      expect(toHeaderLines(toRawHeaders(lines))).toEqual(lines);
    }),
  );
});
