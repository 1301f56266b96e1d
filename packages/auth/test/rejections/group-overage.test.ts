import { expect, test } from "vitest";
import { AUDIENCE, configFixture, expectRejection } from "../fixture.ts";

const OVERAGE = { _claim_names: { groups: "src1" }, _claim_sources: { src1: { endpoint: "https://example.com" } } };
const GROUPS = 'username: { claim: sub, prefix: "" }\n      groups: { claim: groups, prefix: "" }';
const BY_EXPRESSION =
  'username: { claim: sub, prefix: "" }\n      groups: { expression: "claims.?groups.orValue([])" }';

test.each([GROUPS, BY_EXPRESSION])("a token whose issuer left the groups out is refused", async (mapping) => {
  await using fixture = await configFixture("", mapping);
  const token = await fixture.issuer.sign({ aud: AUDIENCE, ...OVERAGE });
  await expectRejection(fixture.verify(token), "CC_IDENTITY_REFUSED", /too many groups.*_claim_names/, token);
});

test("it is accepted without groups where the configuration ignores the overage", async () => {
  await using fixture = await configFixture("", GROUPS, { groupOverage: "ignore" });
  const principal = await fixture.verify(await fixture.issuer.sign({ aud: AUDIENCE, ...OVERAGE }));
  expect(principal.groups).toEqual([]);
});

test("left-out claims that nobody maps do not matter", async () => {
  await using fixture = await configFixture("", 'username: { claim: sub, prefix: "" }');
  await expect(fixture.verify(await fixture.issuer.sign({ aud: AUDIENCE, ...OVERAGE }))).resolves.toBeDefined();
});
