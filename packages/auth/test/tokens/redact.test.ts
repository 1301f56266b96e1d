import { generateAgentKey, mintEnrollmentCode, redact, tokenFingerprint } from "@cluster-connect/auth";
import { startTestIssuer } from "@cluster-connect/auth/testing";
import { expect, test } from "vitest";

test("tokens, credentials, codes and private keys leave a text, the rest stays", async () => {
  await using issuer = await startTestIssuer();
  const token = await issuer.sign({ aud: "x" });
  const { code } = mintEnrollmentCode();
  const { privateKeyPem } = generateAgentKey();
  const protocol = "base64url.bearer.authorization.k8s.io.ZXlKaGJHY2lPaUo";
  const text = `a ${token} b ${token.slice(0, 40)} c Bearer abc123 d ${code} e ${privateKeyPem} f ${protocol} g`;
  const redacted = redact(text);
  for (const secret of [token, token.slice(0, 40), "abc123", code, privateKeyPem.split("\n")[1] ?? "", "ZXlKaGJH"]) {
    expect(redacted).not.toContain(secret);
  }
  expect(redacted.match(/\b[a-g]\b/g)).toEqual(["a", "b", "c", "d", "e", "f", "g"]);
});

test("a text without secrets stays as it is", () => {
  const text = "GET /api/v1/namespaces/default/pods?limit=500 200 for oidc:ann in 12 ms";
  expect(redact(text)).toBe(text);
});

test("a fingerprint is short, stable and not the token", () => {
  expect(tokenFingerprint("secret")).toMatch(/^[0-9a-f]{12}$/);
  expect(tokenFingerprint("secret")).toBe(tokenFingerprint("secret"));
  expect(tokenFingerprint("secret")).not.toBe(tokenFingerprint("secrets"));
});
