import { test } from "vitest";
import { AUDIENCE, createFixture, encodePart, expectRejection } from "../fixture.ts";

test("a signed token that says it holds a token is refused", async () => {
  await using fixture = await createFixture();
  const token = await fixture.issuer.sign({ aud: AUDIENCE }, { header: { cty: "JWT" } });
  await expectRejection(fixture.verify(token), "CC_TOKEN_INVALID", /\(cty\)/, token);
});

test("a token whose payload is a token is refused", async () => {
  await using fixture = await createFixture();
  const inner = await fixture.issuer.sign({ aud: AUDIENCE });
  const token = `${encodePart({ alg: "ES256" })}.${Buffer.from(inner).toString("base64url")}.AAAA`;
  await expectRejection(fixture.verify(token), "CC_TOKEN_INVALID", /payload is not a JSON object/, token);
});

test("an encrypted token is refused", async () => {
  await using fixture = await createFixture();
  const token = `${encodePart({ alg: "RSA-OAEP", enc: "A256GCM" })}.AAAA.BBBB.CCCC.DDDD`;
  await expectRejection(fixture.verify(token), "CC_TOKEN_INVALID", /encrypted \(JWE\)/, token);
});
