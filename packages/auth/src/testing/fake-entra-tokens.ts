import { CompactSign } from "jose";
import type { SigningKey } from "./signing-key.ts";

export interface FakeEntraTokens {
  /** Access token of a person (jane) or of an application, by version 2.0 of Entra's claims. */
  access(audience: string, caller: { readonly clientId: string; readonly person: boolean }): Promise<string>;
  identity(clientId: string, nonce: string | undefined): Promise<string>;
  readonly seconds: number;
  /** The person that signed in; the library calls it client info. */
  readonly clientInfo: string;
}

const JANE = { oid: "aaaaaaaa-0000-4000-8000-000000000001", name: "Jane", username: "jane@example.com" } as const;

export function createFakeEntraTokens(options: {
  readonly key: SigningKey;
  readonly tenantId: string;
  /** Of access tokens. */
  readonly issuer: string;
  /** Of ID tokens: a client compares it with the authority that it signed in at. */
  readonly identityIssuer: string;
  readonly seconds: number;
}): FakeEntraTokens {
  const { key, tenantId, issuer, identityIssuer, seconds } = options;
  const person = { oid: JANE.oid, sub: "pairwise-of-jane", name: JANE.name, preferred_username: JANE.username };

  async function sign(claims: Readonly<Record<string, unknown>>): Promise<string> {
    const now = Math.floor(Date.now() / 1_000);
    const all = { iss: issuer, tid: tenantId, ver: "2.0", iat: now, nbf: now, exp: now + seconds, ...claims };
    return await new CompactSign(new TextEncoder().encode(JSON.stringify(all)))
      .setProtectedHeader({ alg: key.alg, kid: key.jwk.kid, typ: "JWT" })
      .sign(key.privateKey);
  }

  return {
    seconds,
    clientInfo: Buffer.from(JSON.stringify({ uid: JANE.oid, utid: tenantId })).toString("base64url"),
    access: async (audience, caller) =>
      await sign(
        caller.person
          ? { aud: audience, azp: caller.clientId, scp: "use", ...person, groups: ["team-a"] }
          : { aud: audience, azp: caller.clientId, idtyp: "app", oid: caller.clientId, sub: caller.clientId },
      ),
    identity: async (clientId, nonce) =>
      await sign({ iss: identityIssuer, aud: clientId, ...person, ...(nonce === undefined ? {} : { nonce }) }),
  };
}
