import { createHmac } from "node:crypto";
import { exportSPKI, importJWK } from "jose";
import { test } from "vitest";
import { AUDIENCE, createFixture, encodePart, expectRejection } from "../fixture.ts";

test.each(["HS256", "HS384", "HS512"])("%s keyed with the issuer's public key is refused", async (alg) => {
  await using fixture = await createFixture({ algorithms: ["RS256"] });
  const jwk = fixture.issuer.publicKeys()[0] ?? {};
  const key = await importJWK(jwk, "RS256");
  if (key instanceof Uint8Array) throw new Error("not a public key");
  const header = encodePart({ alg, kid: jwk["kid"] });
  const payload = encodePart({ iss: fixture.issuer.url, aud: AUDIENCE, sub: "a", exp: 4_000_000_000 });
  const hash = `sha${alg.slice(2)}`;
  const mac = createHmac(hash, await exportSPKI(key))
    .update(`${header}.${payload}`)
    .digest("base64url");
  const token = `${header}.${payload}.${mac}`;
  await expectRejection(fixture.verify(token), "CC_TOKEN_INVALID", /algorithm \(alg\)/, token);
});
