import { createServer } from "node:http";
import type { LoginSettings } from "@cluster-connect/api";
import { authorizationCodeGrant } from "openid-client";
import { expect, test } from "vitest";
import { discoverIssuer, tokenOf } from "../../src/login/oidc.ts";
import { testCli } from "../support/cli.ts";
import { listenLocally } from "../support/listen.ts";
import { unsignedToken } from "../support/tokens.ts";

const HOUR_MS = 3_600_000;
const LIFE_SECONDS = 3_600;
const { signal } = new AbortController();

/** An issuer whose clock differs from this machine's; the ID token is the clusters' token. */
async function startIssuer(
  aheadMs: number,
  headers: (at: number) => Readonly<Record<string, string>>,
): Promise<LoginSettings> {
  const server = createServer(({ url, headers: { host } }, response) => {
    const at = Date.now() - aheadMs;
    const issuer = `http://${host}`;
    const iat = Math.floor(at / 1_000);
    const claims = { iss: issuer, aud: "client", sub: "jane", iat, nbf: iat, exp: iat + LIFE_SECONDS };
    const answer =
      url === "/token"
        ? { access_token: "opaque", token_type: "bearer", id_token: signedLook(unsignedToken(claims)) }
        : { issuer, token_endpoint: `${issuer}/token`, id_token_signing_alg_values_supported: ["RS256"] };
    response.sendDate = false;
    response.writeHead(200, { "content-type": "application/json", ...headers(at) }).end(JSON.stringify(answer));
  });
  return {
    issuer: await listenLocally(server),
    clientId: "client",
    scopes: ["openid"],
    audiences: { relay: "relay", cluster: "client" },
    resourceParameter: "resource",
  };
}

/** With the algorithm that the issuer says; the library checks no signature of a token that came by TLS. */
function signedLook(token: string): string {
  const header = Buffer.from(JSON.stringify({ alg: "RS256" })).toString("base64url");
  return [header, ...token.split(".").slice(1)].join(".");
}

async function signIn(settings: LoginSettings) {
  const { configuration, skew } = await discoverIssuer(settings, { signal }, testCli("/nowhere").deps);
  const answer = await authorizationCodeGrant(configuration, new URL("http://127.0.0.1/?code=c"));
  const now = Date.now();
  const { expiresAt } = tokenOf(answer, settings, "client", { ...skew, now });
  return { skew, leftMs: expiresAt.getTime() - now };
}

test.each([5 * HOUR_MS, -5 * HOUR_MS, 240 * HOUR_MS])(
  "a person signs in on a machine whose clock is %i ms ahead, and the token is good for its life",
  async (aheadMs) => {
    const settings = await startIssuer(aheadMs, (at) => ({ date: new Date(at).toUTCString() }));
    const { skew, leftMs } = await signIn(settings);
    expect(Math.abs(skew.aheadMs - aheadMs)).toBeLessThan(10_000);
    expect(Math.abs(leftMs - LIFE_SECONDS * 1_000)).toBeLessThan(10_000);
  },
);

test("a clock that is right, or a server that tells no time, changes nothing", async () => {
  const right = await signIn(await startIssuer(0, (at) => ({ date: new Date(at).toUTCString() })));
  expect(right.skew.aheadMs).toBe(0);
  const silent = await signIn(await startIssuer(0, () => ({})));
  expect(silent.skew.aheadMs).toBe(0);
});

test("an issuer's document that was stored on the way says nothing about the clock", async () => {
  const stored = (at: number) => ({
    date: new Date(at - 5 * HOUR_MS).toUTCString(),
    age: String((5 * HOUR_MS) / 1_000),
  });
  expect((await signIn(await startIssuer(0, stored))).skew.aheadMs).toBe(0);
});
