import { test } from "vitest";
import { AUDIENCE, createFixture, encodePart, expectRejection } from "../fixture.ts";

test.each(["none", "None", "NONE", "nOnE", ""])("alg %j is refused, with and without a signature", async (alg) => {
  await using fixture = await createFixture();
  const payload = { iss: fixture.issuer.url, aud: AUDIENCE, sub: "a", exp: 4_000_000_000 };
  const unsigned = `${encodePart({ alg })}.${encodePart(payload)}.`;
  await expectRejection(fixture.verify(unsigned), "CC_TOKEN_INVALID", /signature/, unsigned);
  await expectRejection(fixture.verify(`${unsigned}AAAA`), "CC_TOKEN_INVALID", /algorithm \(alg\)/, unsigned);
});
