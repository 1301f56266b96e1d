import { expect, test } from "vitest";
import { AUDIENCE, configFixture, createFixture, expectRejection } from "../fixture.ts";

test.each([undefined, "", null, 7, ["a"], { a: "b" }])("a username claim of %j is refused", async (name) => {
  await using fixture = await configFixture("", 'username: { claim: name, prefix: "x:" }');
  const token = await fixture.issuer.sign({ aud: AUDIENCE, name });
  await expectRejection(fixture.verify(token), "CC_IDENTITY_REFUSED", /claim name \(username\)/, token);
});

test.each([7, true, { a: 1 }, ["a", 7], [["a"]]])("a groups claim of %j is refused", async (groups) => {
  await using fixture = await createFixture();
  const token = await fixture.issuer.sign({ aud: AUDIENCE, groups });
  await expectRejection(fixture.verify(token), "CC_IDENTITY_REFUSED", /claim groups \(groups\) is neither/, token);
});

test.each([undefined, null, "", []])("a groups claim of %j means no groups", async (groups) => {
  await using fixture = await createFixture();
  const principal = await fixture.verify(await fixture.issuer.sign({ aud: AUDIENCE, groups }));
  expect(principal.groups).toEqual([]);
});

test("a user whose mapped name breaks a user rule is refused with the rule's message", async () => {
  await using fixture = await configFixture(
    `
    userValidationRules:
      - expression: "!user.username.startsWith('system:')"
        message: username must not begin with system`,
    'username: { claim: sub, prefix: "" }',
  );
  const token = await fixture.issuer.sign({ aud: AUDIENCE, sub: "system:admin" });
  await expectRejection(fixture.verify(token), "CC_IDENTITY_REFUSED", /must not begin with system$/, token);
});

test("an unverified email is refused as a username, a verified one and one without a word are taken", async () => {
  await using fixture = await configFixture("", 'username: { claim: email, prefix: "" }');
  const sign = (more: object) => fixture.issuer.sign({ aud: AUDIENCE, email: "ann@example.com", ...more });
  for (const email_verified of [false, "true", null]) {
    await expectRejection(fixture.verify(await sign({ email_verified })), "CC_IDENTITY_REFUSED", /not verified/);
  }
  await expect(fixture.verify(await sign({ email_verified: true }))).resolves.toBeDefined();
  await expect(fixture.verify(await sign({}))).resolves.toBeDefined();
});

test("inherited properties of an object are no claims", async () => {
  await using fixture = await configFixture("", 'username: { claim: constructor, prefix: "" }');
  const token = await fixture.issuer.sign({ aud: AUDIENCE });
  await expectRejection(fixture.verify(token), "CC_IDENTITY_REFUSED", /no claim constructor/, token);
});
