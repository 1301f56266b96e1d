import { expect, test } from "vitest";
import { AUDIENCE, createFixture, expectRejection } from "../fixture.ts";

test("a token is accepted up to the leeway after its end and refused from there on", async () => {
  await using fixture = await createFixture();
  const exp = Math.floor(fixture.clock.now() / 1_000) + 10;
  const token = await fixture.issuer.sign({ aud: AUDIENCE, exp });
  fixture.clock.advance(exp * 1_000 + 60_000 - fixture.clock.now() - 1);
  await expect(fixture.verify(token)).resolves.toBeDefined();
  fixture.clock.advance(1);
  await expectRejection(fixture.verify(token), "CC_TOKEN_EXPIRED", /expired \(exp\) at \d{4}-/, token);
});

test("a token without an end is refused", async () => {
  await using fixture = await createFixture();
  const token = await fixture.issuer.sign({ aud: AUDIENCE, exp: undefined });
  await expectRejection(fixture.verify(token), "CC_TOKEN_INVALID", /no end \(exp\)/, token);
});

test.each(["4000000000", null, -1, 1e300, true, [4_000_000_000]])("an end of %j is refused", async (exp) => {
  await using fixture = await createFixture();
  const token = await fixture.issuer.sign({ aud: AUDIENCE, exp });
  await expectRejection(fixture.verify(token), "CC_TOKEN_INVALID", /exp is not a time/, token);
});

test("an expired token of an unknown key is refused for its signature: nothing it says is believed before", async () => {
  await using fixture = await createFixture();
  const token = await fixture.issuer.sign({ aud: AUDIENCE, exp: 1 });
  await fixture.issuer.rotate({ forget: true });
  await expectRejection(fixture.verify(token), "CC_TOKEN_INVALID", /kid/, token);
});
