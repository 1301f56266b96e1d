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

test("issuers without keys are named with the reason until they answer, and keep nothing else from being served", async () => {
  const { issuers, verifier } = await stage();
  const [first, second] = issuers;
  const check = checkIssuers(verifier);
  await first?.stop();
  await second?.stop();
  const reasons = issuers.map(({ url }) => `${url} \\([^)]*ECONNREFUSED[^)]*\\)`).join(".*");
  await expect.poll(() => check(options)).toEqual({ ok: true, text: expect.stringMatching(new RegExp(reasons)) });
  await first?.start();
  const other = expect.stringMatching(new RegExp(`^no keys of ${second?.url} \\(.*CC_ISSUER_UNREACHABLE$`));
  await expect.poll(() => check(options)).toEqual({ ok: true, text: other });
  await second?.start();
  await expect.poll(() => check(options)).toEqual({ ok: true, text: "keys known" });
  // Keys that are known stay so: an issuer that goes later stops no caller for a day.
  await first?.stop();
  expect(await check(options)).toEqual({ ok: true, text: "keys known" });
});

test("an issuer that never answers does not make the check late", async () => {
  const { issuers, verifier } = await stage();
  for (const { answers } of issuers) answers.hang = true;
  const found = await checkIssuers(verifier)(options);
  expect(found).toEqual({ ok: true, text: expect.stringContaining(issuers[0]?.url ?? "") });
});
