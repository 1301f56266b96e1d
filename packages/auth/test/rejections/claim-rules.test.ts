import { expect, test } from "vitest";
import { AUDIENCE, configFixture, expectRejection } from "../fixture.ts";

const RULES = `
    claimValidationRules:
      - claim: azp
        requiredValue: console
      - expression: claims.tid in ["t1", "t2"]
        message: this tenant may not sign in`;

test("a token whose azp and tid satisfy the rules is accepted", async () => {
  await using fixture = await configFixture(RULES);
  const token = await fixture.issuer.sign({ aud: AUDIENCE, azp: "console", tid: "t2" });
  await expect(fixture.verify(token)).resolves.toBeDefined();
});

test.each([undefined, "other", ["console"], "console "])("an authorized party (azp) of %j is refused", async (azp) => {
  await using fixture = await configFixture(RULES);
  const token = await fixture.issuer.sign({ aud: AUDIENCE, azp, tid: "t1" });
  await expectRejection(fixture.verify(token), "CC_TOKEN_INVALID", /claim azp does not have the required value/, token);
});

test.each([undefined, "t3", 7, ["t1"]])("a tenant (tid) of %j is refused with the rule's message", async (tid) => {
  await using fixture = await configFixture(RULES);
  const token = await fixture.issuer.sign({ aud: AUDIENCE, azp: "console", tid });
  await expectRejection(fixture.verify(token), "CC_TOKEN_INVALID", /this tenant may not sign in/, token);
});

test("a rule that cannot be evaluated does not hold", async () => {
  await using fixture = await configFixture(`
    claimValidationRules:
      - expression: claims.exp - claims.nbf <= 86400`);
  const token = await fixture.issuer.sign({ aud: AUDIENCE });
  await expectRejection(fixture.verify(token), "CC_TOKEN_INVALID", /claimValidationRules\[0\] does not hold/, token);
});
