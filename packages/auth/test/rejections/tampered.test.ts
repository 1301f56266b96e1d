import fc from "fast-check";
import { expect, test } from "vitest";
import { AUDIENCE, createFixture, encodePart, expectRejection } from "../fixture.ts";

test("other claims under a genuine signature are refused", async () => {
  await using fixture = await createFixture();
  const token = await fixture.issuer.sign({ aud: AUDIENCE, sub: "ann" });
  const [header, payload = "", signature] = token.split(".");
  const claims = JSON.parse(Buffer.from(payload, "base64url").toString());
  const forged = `${header}.${encodePart({ ...claims, sub: "root" })}.${signature}`;
  await expectRejection(fixture.verify(forged), "CC_TOKEN_INVALID", /signature is wrong/, forged);
});

test("no change of a single character leaves a token valid for another identity", async () => {
  await using fixture = await createFixture();
  const token = await fixture.issuer.sign({ aud: AUDIENCE, sub: "ann" });
  const genuine = await fixture.verify(token);
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ ";
  const change = fc.tuple(fc.nat(token.length - 1), fc.constantFrom(...alphabet));
  await fc.assert(
    fc.asyncProperty(change, async ([at, character]) => {
      const changed = token.slice(0, at) + character + token.slice(at + 1);
      const result = await fixture.verify(changed).catch((error: unknown) => error);
      // The last character of a part has unused bits, so another spelling of the same bytes may pass.
      if (result instanceof Error) expect(result).toMatchObject({ name: "ConnectError" });
      else expect(result).toEqual(genuine);
    }),
    { numRuns: 500 },
  );
});

test("a cut token is refused", async () => {
  await using fixture = await createFixture();
  const token = await fixture.issuer.sign({ aud: AUDIENCE });
  for (const cut of [token.slice(0, -1), token.slice(1), token.slice(0, token.lastIndexOf("."))]) {
    await expectRejection(fixture.verify(cut), "CC_TOKEN_INVALID", /./, cut);
  }
});
