import { createTokenVerifier, parseAuthenticationConfiguration, presetConfiguration } from "@cluster-connect/auth";
import { type EntraAccount, renewEntraPerson, type SignedInAtEntra, signInAtEntra } from "@cluster-connect/auth/azure";
import type { FakeEntra } from "@cluster-connect/auth/testing";
import { expect, test } from "vitest";
import { CLUSTER_APP, DEPS, NO_END, RELAY_APP, stage } from "./stage.ts";

async function signIn(entra: FakeEntra, client: Parameters<typeof signInAtEntra>[0]): Promise<SignedInAtEntra> {
  const show = ({ code }: { readonly code: string }): void => void entra.enterDeviceCode(code);
  return await signInAtEntra(client, { kind: "deviceCode", show }, RELAY_APP, NO_END, DEPS);
}

const audience = (token: string): unknown =>
  JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString()).aud;

test("one device code gives a token for the relay, and later one for the clusters without asking again", async () => {
  const { entra, client } = await stage();
  const first = await signIn(entra, client);
  expect(audience(first.token.token)).toBe(RELAY_APP);
  const second = await renewEntraPerson(client, first.account, CLUSTER_APP, NO_END, DEPS);
  expect(audience(second.token.token)).toBe(CLUSTER_APP);
  expect(second.token.expiresAt.getTime()).toBeGreaterThan(Date.now() + 3_000_000);
  expect(entra.grants).toEqual({ device_code: 1, refresh_token: 1 });
});

test("a renewal gives a new token although the old one is still good, and keeps the newest refresh token", async () => {
  const { entra, client } = await stage();
  let { account, token } = await signIn(entra, client);
  for (let renewals = 1; renewals <= 3; renewals++) {
    const next = await renewEntraPerson(client, account, RELAY_APP, NO_END, DEPS);
    expect(entra.grants["refresh_token"]).toBe(renewals);
    expect(next.account.cache).not.toBe(account.cache);
    ({ account, token } = next);
  }
  expect(audience(token.token)).toBe(RELAY_APP);
});

test("what is kept of a sign-in holds no access token", async () => {
  const { entra, client } = await stage();
  const { account, token } = await signIn(entra, client);
  const { cache }: EntraAccount = account;
  expect(cache).not.toContain(token.token);
  expect(JSON.parse(cache).AccessToken).toEqual({});
  expect(Object.keys(JSON.parse(cache).RefreshToken)).toHaveLength(1);
});

test("two people's sign-ins in one process keep apart", async () => {
  const { entra, client } = await stage();
  const one = await signIn(entra, client);
  const two = await signIn(entra, client);
  await renewEntraPerson(client, one.account, CLUSTER_APP, NO_END, DEPS);
  const again = await renewEntraPerson(client, two.account, CLUSTER_APP, NO_END, DEPS);
  expect(Object.keys(JSON.parse(again.account.cache).RefreshToken)).toHaveLength(1);
});

test("a sign-in that ran out asks for the person, with Entra's own number and without its trace ids", async () => {
  const { entra, client } = await stage();
  const { account } = await signIn(entra, client);
  entra.revoke();
  const failed = renewEntraPerson(client, account, CLUSTER_APP, NO_END, DEPS);
  await expect(failed).rejects.toMatchObject({
    code: "CC_NOT_LOGGED_IN",
    message: `${new URL(entra.url).host} refused: invalid_grant: AADSTS70043: The refresh token has expired.`,
  });
});

test("an authority that is away is no sign-in that ran out", async () => {
  const { entra, client } = await stage();
  const { account } = await signIn(entra, client);
  await entra.stop();
  const failed = renewEntraPerson(client, account, CLUSTER_APP, NO_END, DEPS);
  await expect(failed).rejects.toMatchObject({ code: "CC_ISSUER_UNREACHABLE" });
});

test.each([429, 503])("an authority that answers %i is told so, and may be asked again", async (status) => {
  const { entra, client } = await stage();
  const { account } = await signIn(entra, client);
  entra.fault = (request, response) => {
    if (request.method !== "POST") return false;
    response.writeHead(status).end();
    return true;
  };
  const failed = renewEntraPerson(client, account, CLUSTER_APP, NO_END, DEPS);
  await expect(failed).rejects.toMatchObject({
    code: "CC_ISSUER_UNREACHABLE",
    message: expect.stringContaining(String(status)),
  });
});

test("aborting ends a sign-in that nobody completes", async () => {
  const { client } = await stage();
  const abort = new AbortController();
  const show = (): void => abort.abort();
  const failed = signInAtEntra(client, { kind: "deviceCode", show }, RELAY_APP, { signal: abort.signal }, DEPS);
  await expect(failed).rejects.toMatchObject({ name: "AbortError" });
});

test("a client that the tenant does not know is told so", async () => {
  const { client } = await stage();
  const other = { ...client, clientId: RELAY_APP };
  const failed = signInAtEntra(other, { kind: "deviceCode", show: () => {} }, RELAY_APP, NO_END, DEPS);
  await expect(failed).rejects.toMatchObject({
    code: "CC_LOGIN_FAILED",
    message: expect.stringContaining("AADSTS700016"),
    hint: expect.stringContaining("--client-id"),
  });
});

test("tokens so obtained pass our own checks with the preset for Entra, and only for their audience", async () => {
  const { entra, client } = await stage();
  const { token } = await signIn(entra, client);
  const verifierFor = (app: string): ReturnType<typeof createTokenVerifier> => {
    const preset = { kind: "entra", tenantIds: [entra.tenantId], audiences: [app] } as const;
    const { issuers } = parseAuthenticationConfiguration(presetConfiguration([preset]));
    return createTokenVerifier(issuers, {}, { now: Date.now, fetchDocument: async (url) => entra.document(url) });
  };
  const principal = await verifierFor(RELAY_APP).verify(token.token, NO_END);
  expect(principal.username).toBe("entra:aaaaaaaa-0000-4000-8000-000000000001");
  expect(principal.groups).toEqual(["entra:team-a"]);
  await expect(verifierFor(CLUSTER_APP).verify(token.token, NO_END)).rejects.toMatchObject({
    code: "CC_TOKEN_AUDIENCE",
  });
});
