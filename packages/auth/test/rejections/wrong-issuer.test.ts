import { startTestIssuer } from "@cluster-connect/auth/testing";
import { expect, test } from "vitest";
import { AUDIENCE, createFixture, expectRejection } from "../fixture.ts";

test("a token of an issuer that is not configured is refused, and its issuer is never asked", async () => {
  await using fixture = await createFixture();
  await using stranger = await startTestIssuer();
  const token = await stranger.sign({ aud: AUDIENCE });
  await expectRejection(fixture.verify(token), "CC_TOKEN_ISSUER", /issuer \(iss\)/, token);
  expect(stranger.requests).toEqual({ discovery: 0, keys: 0, other: 0 });
});

test.each(["", "/", "/x", "#", " "])("an iss that differs by %j at its end is another issuer", async (end) => {
  await using fixture = await createFixture();
  const token = await fixture.issuer.sign({ aud: AUDIENCE, iss: fixture.issuer.url + end });
  if (end === "") await expect(fixture.verify(token)).resolves.toBeDefined();
  else await expectRejection(fixture.verify(token), "CC_TOKEN_ISSUER", /iss/, token);
});

test("a token that borrows the trusted issuer's name but not its key is refused", async () => {
  await using fixture = await createFixture();
  await using stranger = await startTestIssuer();
  const token = await stranger.sign({ aud: AUDIENCE, iss: fixture.issuer.url });
  await expectRejection(fixture.verify(token), "CC_TOKEN_INVALID", /kid/, token);
});

test.each([undefined, 7, null, ["a"]])("an iss of %j is refused", async (iss) => {
  await using fixture = await createFixture();
  const token = await fixture.issuer.sign({ aud: AUDIENCE, iss });
  await expectRejection(fixture.verify(token), "CC_TOKEN_INVALID", /no issuer \(iss\)/, token);
});
