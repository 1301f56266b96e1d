import { test } from "vitest";
import { AUDIENCE, createFixture, expectRejection } from "../fixture.ts";

test("an algorithm that this issuer is not configured for is refused", async () => {
  await using fixture = await createFixture({ algorithms: ["ES256"], trusted: { algorithms: ["RS256"] } });
  const token = await fixture.issuer.sign({ aud: AUDIENCE });
  await expectRejection(fixture.verify(token), "CC_TOKEN_INVALID", /algorithm \(alg\) is none of RS256$/, token);
});

test("a header that names another algorithm than the key's is refused", async () => {
  await using fixture = await createFixture({ algorithms: ["RS256", "PS256"] });
  const token = await fixture.issuer.sign({ aud: AUDIENCE }, { alg: "RS256" });
  const [header = "", payload, signature] = token.split(".");
  const forged = JSON.parse(Buffer.from(header, "base64url").toString());
  const changed = Buffer.from(JSON.stringify({ ...forged, alg: "PS256" })).toString("base64url");
  const mixed = `${changed}.${payload}.${signature}`;
  await expectRejection(fixture.verify(mixed), "CC_TOKEN_INVALID", /kid|signature/, mixed);
});

test("a header without an algorithm is refused", async () => {
  await using fixture = await createFixture();
  const token = await fixture.issuer.sign({ aud: AUDIENCE });
  const [, payload, signature] = token.split(".");
  const bare = `${Buffer.from("{}").toString("base64url")}.${payload}.${signature}`;
  await expectRejection(fixture.verify(bare), "CC_TOKEN_INVALID", /no algorithm \(alg\)/, bare);
});
