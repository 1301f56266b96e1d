import { parseBearer } from "@cluster-connect/auth";
import fc from "fast-check";
import { expect, test } from "vitest";

test.each(["Bearer abc.def.ghi", "bearer abc.def.ghi", "BEARER    abc.def.ghi"])("%j holds a token", (header) => {
  expect(parseBearer(header)).toBe("abc.def.ghi");
});

test.each([undefined, "", "Bearer", "Bearer ", "bearer   "])("%j holds none", (header) => {
  expect(() => parseBearer(header)).toThrow(expect.objectContaining({ code: "CC_TOKEN_MISSING" }));
});

test.each([
  "Basic YTpi",
  "Bearer a b",
  "Bearer a, Bearer b",
  "Bearer\ta",
  " Bearer a",
  "Bearer a ",
  "Bearera",
  "Bearer a\r\nX: y",
  "Bearer a\n",
  "Bearer é",
  "Bearer =a",
])("%j is refused without being shown", (header) => {
  try {
    parseBearer(header);
    expect.fail("was taken");
  } catch (error) {
    expect(error).toMatchObject({ code: "CC_TOKEN_INVALID" });
    expect(String(error)).toMatch(/^ConnectError: The Authorization header (is not of the form|has more than)/);
  }
});

test("a header above 64 KiB is refused", () => {
  expect(() => parseBearer(`Bearer ${"a".repeat(65_537)}`)).toThrow(/more than 65536 bytes/);
});

test("whatever the header, the result is one token of the header itself or a named error", () => {
  const header = fc.oneof(
    fc.string(),
    fc.string({ unit: "binary" }),
    fc.string().map((rest) => `Bearer ${rest}`),
  );
  fc.assert(
    fc.property(header, (text) => {
      try {
        const token = parseBearer(text);
        expect(token).toMatch(/^[A-Za-z0-9\-._~+/]+=*$/);
        expect(text.replace(/^bearer +/i, "")).toBe(token);
      } catch (error) {
        expect(error).toMatchObject({ code: expect.stringMatching(/^CC_TOKEN_(MISSING|INVALID)$/) });
      }
    }),
    { numRuns: 2_000 },
  );
});
