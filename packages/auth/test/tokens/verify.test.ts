import { SIGNATURE_ALGORITHMS } from "@cluster-connect/auth";
import { expect, test } from "vitest";
import { AUDIENCE, createFixture } from "../fixture.ts";

test("a verified token becomes a principal", async () => {
  await using fixture = await createFixture();
  const exp = Math.floor(Date.now() / 1_000) + 600;
  const token = await fixture.issuer.sign({ aud: AUDIENCE, sub: "ann", groups: ["dev", "ops, all"], exp });
  const principal = await fixture.verify(token);
  expect(principal).toMatchObject({
    issuer: fixture.issuer.url,
    subject: "ann",
    username: "test:ann",
    groups: ["test:dev", "test:ops, all"],
    extra: {},
    expiresAt: new Date(exp * 1_000),
    claims: { aud: AUDIENCE, sub: "ann" },
  });
});

test.each(SIGNATURE_ALGORITHMS)("a token signed with %s is accepted", async (alg) => {
  await using fixture = await createFixture({ algorithms: [alg] });
  const token = await fixture.issuer.sign({ aud: [AUDIENCE, "other"] });
  await expect(fixture.verify(token)).resolves.toMatchObject({ username: "test:subject" });
});

test("keys are fetched once for many tokens", async () => {
  await using fixture = await createFixture();
  const token = await fixture.issuer.sign({ aud: AUDIENCE });
  await Promise.all(Array.from({ length: 20 }, () => fixture.verify(token)));
  expect(fixture.issuer.requests).toEqual({ discovery: 1, keys: 1, other: 0 });
});

test("an aborted signal ends the wait for an issuer that does not answer", async () => {
  await using fixture = await createFixture();
  const token = await fixture.issuer.sign({ aud: AUDIENCE });
  const attempt = fixture.verifier.verify(token, { signal: AbortSignal.abort(new Error("gone")) });
  await expect(attempt).rejects.toThrow("gone");
});
