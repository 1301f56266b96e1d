import { startTestIssuer } from "@cluster-connect/auth/testing";
import { expect, test } from "vitest";
import { AUDIENCE, createFixture, expectRejection } from "../fixture.ts";

test.each(["jku", "x5u"])("the address in %s is never asked", async (name) => {
  await using fixture = await createFixture();
  await using attacker = await startTestIssuer();
  const claims = { aud: AUDIENCE, iss: fixture.issuer.url };
  const token = await attacker.sign(claims, { header: { [name]: `${attacker.url}/keys` } });
  await expectRejection(fixture.verify(token), "CC_TOKEN_INVALID", /kid/, token);
  expect(attacker.requests).toEqual({ discovery: 0, keys: 0, other: 0 });
});

test("a key in the header (jwk) is not used, under the trusted key's own id", async () => {
  await using fixture = await createFixture();
  await using attacker = await startTestIssuer();
  const kid = fixture.issuer.publicKeys()[0]?.["kid"];
  const header = { kid, jwk: attacker.publicKeys()[0] };
  const token = await attacker.sign({ aud: AUDIENCE, iss: fixture.issuer.url }, { header });
  await expectRejection(fixture.verify(token), "CC_TOKEN_INVALID", /signature is wrong/, token);
});

test("a genuine token with a jku in its header is accepted without a look at it", async () => {
  await using fixture = await createFixture();
  await using attacker = await startTestIssuer();
  const token = await fixture.issuer.sign({ aud: AUDIENCE }, { header: { jku: `${attacker.url}/keys` } });
  await expect(fixture.verify(token)).resolves.toBeDefined();
  expect(attacker.requests.keys).toBe(0);
});
