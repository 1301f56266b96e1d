import { createTokenVerifier, parseAuthenticationConfiguration, type TokenVerifier } from "@cluster-connect/auth";
import { startTestIssuer, type TestIssuer } from "@cluster-connect/auth/testing";
import { expect, onTestFinished, test } from "vitest";
import { checkIssuers } from "../../src/observe/issuers.ts";

async function stage(): Promise<{ readonly issuers: readonly TestIssuer[]; readonly verifier: TokenVerifier }> {
  const issuers = [await startTestIssuer(), await startTestIssuer()];
  onTestFinished(async () => {
    for (const issuer of issuers) await issuer[Symbol.asyncDispose]();
  });
  const claimMappings = { username: { claim: "sub", prefix: "" } };
  const configuration = {
    apiVersion: "apiserver.config.k8s.io/v1",
    kind: "AuthenticationConfiguration",
    jwt: issuers.map(({ url }) => ({ issuer: { url, audiences: ["cluster"] }, claimMappings })),
  };
  const parsed = parseAuthenticationConfiguration(JSON.stringify(configuration), { allowInsecureLoopback: true });
  return { issuers, verifier: createTokenVerifier(parsed.issuers, { cooldownMs: 0 }) };
}

const options = { signal: AbortSignal.any([]) };

test("without the keys of any issuer the auth proxy is not ready, names each with its reason, and is once one answers", async () => {
  const { issuers, verifier } = await stage();
  const [first, second] = issuers;
  const check = checkIssuers(verifier, { othersCall: false });
  await first?.stop();
  await second?.stop();
  expect(await check(options)).toMatchObject({ ok: false });
  // Both were asked; the answer does not wait for the second one.
  const reasons = issuers.map(({ url }) => `${url} \\([^)]*ECONNREFUSED[^)]*\\)`).join(".*");
  await expect.poll(() => check(options)).toEqual({ ok: false, text: expect.stringMatching(new RegExp(reasons)) });
  await first?.start();
  await expect.poll(async () => (await check(options)).ok).toBe(true);
  const half = await check(options);
  expect(half).toEqual({ ok: true, text: expect.stringMatching(/^no keys of /) });
  expect(half.text).not.toContain(first?.url);
  await second?.start();
  await expect.poll(() => check(options)).toEqual({ ok: true, text: "keys known" });
  // Keys that are known stay so: an issuer that goes later stops no caller for a day.
  await first?.stop();
  expect(await check(options)).toEqual({ ok: true, text: "keys known" });
});

test("where ServiceAccounts call, an issuer without keys is told and stops nothing", async () => {
  const { issuers, verifier } = await stage();
  for (const issuer of issuers) await issuer.stop();
  const check = checkIssuers(verifier, { othersCall: true });
  await expect.poll(() => check(options)).toEqual({ ok: true, text: expect.stringContaining("ECONNREFUSED") });
});

test("no issuer at all is ready for ServiceAccounts only", async () => {
  const none = createTokenVerifier([]);
  expect(await checkIssuers(none, { othersCall: false })(options)).toEqual({ ok: false, text: "no issuer is named" });
  expect(await checkIssuers(none, { othersCall: true })(options)).toEqual({ ok: true, text: "keys known" });
});
