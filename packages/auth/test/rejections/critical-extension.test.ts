import { test } from "vitest";
import { AUDIENCE, createFixture, encodePart, expectRejection } from "../fixture.ts";

test("a signed token with a critical extension is refused", async () => {
  await using fixture = await createFixture();
  const header = { crit: ["urn:example:unknown"], "urn:example:unknown": 1 };
  const token = await fixture.issuer.sign({ aud: AUDIENCE }, { header });
  await expectRejection(fixture.verify(token), "CC_TOKEN_INVALID", /\(crit\)/, token);
});

test.each([[[]], [["exp"]], ["exp"], [null]])("a crit of %j is refused before the key is looked for", async (crit) => {
  await using fixture = await createFixture();
  const token = `${encodePart({ alg: "ES256", crit })}.${encodePart({ iss: fixture.issuer.url })}.AAAA`;
  await expectRejection(fixture.verify(token), "CC_TOKEN_INVALID", /\(crit\)/, token);
});

test("an unencoded payload (b64) is refused", async () => {
  await using fixture = await createFixture();
  const token = `${encodePart({ alg: "ES256", b64: false })}.${encodePart({ iss: fixture.issuer.url })}.AAAA`;
  await expectRejection(fixture.verify(token), "CC_TOKEN_INVALID", /\(b64\)/, token);
});
