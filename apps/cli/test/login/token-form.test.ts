import type { LoginSettings } from "@cluster-connect/api";
import fc from "fast-check";
import { Configuration, type TokenEndpointResponse } from "openid-client";
import { expect, test } from "vitest";
import { tokenOf } from "../../src/login/oidc.ts";
import { completeSignIn } from "../../src/login/sign-in.ts";
import { unsignedToken } from "../support/tokens.ts";

const SETTINGS: LoginSettings = {
  issuer: "https://login.example.com/realm",
  clientId: "client",
  scopes: ["openid"],
  audiences: { relay: "https://relay.example.com", cluster: "cluster" },
  resourceParameter: "resource",
};
const RELAY = SETTINGS.audiences.relay;
const now = Date.now();

type Answer = Pick<TokenEndpointResponse, "access_token"> & Partial<Pick<TokenEndpointResponse, "id_token">>;
const take = (answer: Answer, settings = SETTINGS, audience = RELAY): string =>
  tokenOf({ token_type: "bearer", ...answer }, settings, audience, { now }).token;

test.each<readonly [string, string, RegExp]>([
  ["an opaque token", "kZ3pXq8", /login\.example\.com gives tokens for https:\/\/relay\.example\.com that are opaque/],
  ["one of two parts", "a.b", /opaque/],
  ["an encrypted one", "a.b.c.d.e", /encrypted/],
  ["one that names no audience", unsignedToken({ sub: "alice" }), /without an audience \(aud\)/],
  ["one whose claims cannot be read", "a.b.c", /without an audience \(aud\)/],
  ["one for another", unsignedToken({ aud: "account" }), /gave a token for account in place of https:\/\/relay/],
  ["one for several others", unsignedToken({ aud: ["account", "b"] }), /for account, b in place of/],
])("%s is refused at the sign-in, and what to change is said", async (_what, token, words) => {
  expect(() => take({ access_token: token })).toThrow(
    expect.objectContaining({ code: "CC_LOGIN_FAILED", message: expect.stringMatching(words) }),
  );
  const server = { issuer: SETTINGS.issuer, token_endpoint: `${SETTINGS.issuer}/token` };
  const started = {
    first: { access_token: token, token_type: "bearer" } as TokenEndpointResponse,
    configuration: new Configuration(server, SETTINGS.clientId),
    aheadMs: 0,
  };
  const options = { signal: AbortSignal.any([]), clusters: [] };
  const deps = { fetch: () => Promise.reject(new Error("nothing is asked")), now: () => now };
  await expect(completeSignIn(RELAY, SETTINGS, started, options, deps)).rejects.toMatchObject({
    code: "CC_LOGIN_FAILED",
    hint: expect.stringContaining(RELAY),
  });
  // No part of a token is ever shown.
  expect(() => take({ access_token: token })).not.toThrow(token);
});

test.each([RELAY, [RELAY], ["account", RELAY]])("a token for %j is taken", (aud) => {
  const token = unsignedToken({ aud });
  expect(take({ access_token: token })).toBe(token);
});

test("where the audience is the client itself, the ID token is taken and an opaque access token does not matter", () => {
  const idToken = unsignedToken({ aud: "client" });
  expect(take({ access_token: "opaque", id_token: idToken }, SETTINGS, "client")).toBe(idToken);
  expect(() => take({ access_token: "opaque" }, SETTINGS, "client")).toThrow("opaque");
});

test("Entra's tokens may name an application by its id, and are JWTs all the same", () => {
  const settings = { ...SETTINGS, resourceParameter: "scope" } as const;
  const token = unsignedToken({ aud: "0d2a8f3e-0000-4000-8000-000000000000" });
  expect(take({ access_token: token }, settings)).toBe(token);
  expect(() => take({ access_token: "opaque" }, settings)).toThrow("opaque");
});

test("a token counts as over before its issuer says so, however late the answer came", () => {
  const ms = fc.integer({ min: 0, max: 999 });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 86_400 }), ms, ms, (seconds, startedMs, answerMs) => {
      const madeAt = 1_790_000_000_000 + startedMs;
      const exp = Math.floor(madeAt / 1_000) + seconds;
      const answer: TokenEndpointResponse = {
        token_type: "bearer",
        access_token: unsignedToken({ aud: RELAY, exp }),
        expires_in: seconds,
      };
      const { expiresAt, obtainedAt } = tokenOf(answer, SETTINGS, RELAY, { now: madeAt + answerMs });
      expect(expiresAt.getTime()).toBeGreaterThan(obtainedAt.getTime());
      if (seconds >= 20) expect(expiresAt.getTime()).toBeLessThanOrEqual(exp * 1_000);
    }),
  );
});
