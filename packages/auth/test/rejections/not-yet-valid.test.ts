import { expect, test } from "vitest";
import { AUDIENCE, createFixture, expectRejection } from "../fixture.ts";

test.each([
  ["nbf", /not yet valid \(nbf\)/],
  ["iat", /issued in the future \(iat\)/],
])("a token whose %s lies further ahead than the leeway is refused", async (claim, words) => {
  await using fixture = await createFixture();
  const soon = Math.ceil(fixture.clock.now() / 1_000) + 60;
  await expect(fixture.verify(await fixture.issuer.sign({ aud: AUDIENCE, [claim]: soon - 1 }))).resolves.toBeDefined();
  const token = await fixture.issuer.sign({ aud: AUDIENCE, [claim]: soon + 1 });
  await expectRejection(fixture.verify(token), "CC_TOKEN_INVALID", words, token);
});

test.each(["soon", null, {}])("an nbf of %j is refused", async (nbf) => {
  await using fixture = await createFixture();
  const token = await fixture.issuer.sign({ aud: AUDIENCE, nbf });
  await expectRejection(fixture.verify(token), "CC_TOKEN_INVALID", /nbf is not a time/, token);
});
