import fc from "fast-check";
import { test } from "vitest";
import { createFixture, encodePart, expectRejection } from "../fixture.ts";

test("the empty token is missing", async () => {
  await using fixture = await createFixture();
  await expectRejection(fixture.verify(""), "CC_TOKEN_MISSING", /no token/);
});

test.each(["a", "a.b", "a.b.c.d", "..", "a.b.c.d.e.f", "é.é.é", "e30.e30.e30", "W10.W10.AAAA", "bnVsbA.bnVsbA.AAAA"])(
  "%j is refused as malformed",
  async (text) => {
    await using fixture = await createFixture();
    await expectRejection(fixture.verify(text), "CC_TOKEN_INVALID", /malformed|no algorithm/, text);
  },
);

test("a payload that is not UTF-8 is refused", async () => {
  await using fixture = await createFixture();
  const payload = Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]).toString("base64url");
  const token = `${encodePart({ alg: "ES256" })}.${payload}.AAAA`;
  await expectRejection(fixture.verify(token), "CC_TOKEN_INVALID", /payload is not a JSON object/, token);
});

test("no text at all does anything but a clean refusal", async () => {
  await using fixture = await createFixture();
  const part = fc.oneof(
    fc.string(),
    fc.json().map((text) => Buffer.from(text).toString("base64url")),
    fc.dictionary(fc.constantFrom("alg", "kid", "crit", "iss", "typ"), fc.jsonValue()).map(encodePart),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(part, { minLength: 1, maxLength: 4 }), async (parts) => {
      await expectRejection(fixture.verify(`${parts.join(".")}.`), "CC_TOKEN_INVALID", /^The token/);
    }),
    { numRuns: 300 },
  );
});
