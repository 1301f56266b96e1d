import { expect, test } from "vitest";
import { AUDIENCE, createFixture, expectRejection } from "../fixture.ts";

test("a key id the issuer does not publish is refused, and asks the issuer once per cooldown", async () => {
  await using fixture = await createFixture();
  await fixture.verify(await fixture.issuer.sign({ aud: AUDIENCE }));
  fixture.clock.advance(11_000);
  for (let count = 0; count < 20; count += 1) {
    const token = await fixture.issuer.sign({ aud: AUDIENCE }, { header: { kid: `invented-${count}` } });
    await expectRejection(fixture.verify(token), "CC_TOKEN_INVALID", /does not publish \(kid\)/, token);
  }
  expect(fixture.issuer.requests.keys).toBe(2);
});

test("a token without a key id is refused when several keys could have signed it", async () => {
  await using fixture = await createFixture();
  await fixture.issuer.rotate();
  const token = await fixture.issuer.sign({ aud: AUDIENCE }, { header: { kid: undefined } });
  await expectRejection(fixture.verify(token), "CC_TOKEN_INVALID", /which of its issuer's keys/, token);
});

test.each([7, null, ["a"], {}])("a key id of %j is refused", async (kid) => {
  await using fixture = await createFixture();
  const token = await fixture.issuer.sign({ aud: AUDIENCE }, { header: { kid } });
  await expectRejection(fixture.verify(token), "CC_TOKEN_INVALID", /not a string \(kid\)/, token);
});
