import { expect, test } from "vitest";
import { AUDIENCE, createFixture, expectRejection } from "../fixture.ts";

test("a token whose nbf lies further ahead than the leeway is refused, with a hint about the clock", async () => {
  await using fixture = await createFixture();
  const soon = Math.ceil(fixture.clock.now() / 1_000) + 60;
  await expect(fixture.verify(await fixture.issuer.sign({ aud: AUDIENCE, nbf: soon - 1 }))).resolves.toBeDefined();
  const token = await fixture.issuer.sign({ aud: AUDIENCE, nbf: soon + 1 });
  await expectRejection(fixture.verify(token), "CC_TOKEN_INVALID", /not yet valid \(nbf\)/, token);
  const here = new Date(fixture.clock.now()).toISOString();
  await expect(fixture.verify(token)).rejects.toMatchObject({
    message: expect.stringContaining(`the clock here says ${here}`),
    hint: expect.stringContaining("clock"),
  });
});

test.each([0, 70, 86_400])(
  "a token issued %d s ahead of a slow clock is taken, as the kube-apiserver takes it",
  async (ahead) => {
    await using fixture = await createFixture();
    const iat = Math.ceil(fixture.clock.now() / 1_000) + ahead;
    await expect(
      fixture.verify(await fixture.issuer.sign({ aud: AUDIENCE, iat, exp: iat + 60 })),
    ).resolves.toBeDefined();
  },
);

test.each(["nbf", "iat"].flatMap((claim) => ["soon", null, {}, -1].map((value) => [claim, value] as const)))(
  "an %s of %j is refused",
  async (claim, value) => {
    await using fixture = await createFixture();
    const token = await fixture.issuer.sign({ aud: AUDIENCE, [claim]: value });
    await expectRejection(fixture.verify(token), "CC_TOKEN_INVALID", new RegExp(`${claim} is not a time`), token);
  },
);
