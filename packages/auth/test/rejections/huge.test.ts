import { expect, test } from "vitest";
import { AUDIENCE, createFixture, expectRejection } from "../fixture.ts";

test("a genuine token above 64 KiB is refused before it is parsed", async () => {
  await using fixture = await createFixture();
  const token = await fixture.issuer.sign({ aud: AUDIENCE, groups: ["x".repeat(60_000)] });
  await expectRejection(fixture.verify(token), "CC_TOKEN_INVALID", /more than 65536 bytes/);
  expect(fixture.issuer.requests.discovery).toBe(0);
});

test("a token with 200 groups of Entra's length is accepted", async () => {
  await using fixture = await createFixture();
  const groups = Array.from({ length: 200 }, (_, index) => `${index}`.padStart(36, "0"));
  const principal = await fixture.verify(await fixture.issuer.sign({ aud: AUDIENCE, groups }));
  expect(principal.groups).toHaveLength(200);
});
