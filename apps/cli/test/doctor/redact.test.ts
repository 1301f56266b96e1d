import fc from "fast-check";
import { expect, test } from "vitest";
import { redact } from "../../src/doctor/redact.ts";

test.each([
  ["a token", "said eyJhbGciOiJub25lIn0.eyJzdWIiOiJqYW5lIn0. then", "said [token] then"],
  ["a header", "authorization: Bearer abc.def", "authorization: Bearer [secret]"],
  ["a proxy's login", "HTTPS_PROXY=http://jane:pw@proxy:3128", "HTTPS_PROXY=http://[login]@proxy:3128"],
  ["an address's code", "/callback?code=abc&state=x end", "/callback?code=[secret]&state=[secret] end"],
  ["a field", '{"refresh_token": "abc"}', '{"refresh_token": "[secret]"}'],
  ["a private key", "-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----\nend", "[private key]\nend"],
  ["something long", `id ${"A1".repeat(30)} end`, "id [long text] end"],
])("%s goes", (_name, text, left) => {
  expect(redact(text)).toBe(left);
});

test.each([
  "SHA-256 5B:C2:0E:7A:41:9D:F3:66:1B:28:D4:8C:03:EA:97:5F:62:BE:0D:31:A8:74:C9:1E:F0:45:8B:26:DA:93:6C:17",
  "https://relay.example.com:8443/v1/connect",
  "The channel to relay.example.com was lost; 3 open connections wait for it",
  "/home/jane/.local/state/cluster-connect/logs/proxy-4711-1767606067000.log",
])("%s stays", (text) => {
  expect(redact(text)).toBe(text);
});

test("a token goes wherever it stands", () => {
  const part = fc.string({ unit: fc.constantFrom(..."abcXYZ019_-"), minLength: 1, maxLength: 40 });
  const around = fc.string({ unit: fc.constantFrom(..." \n\"':={}[],;()<>"), maxLength: 10 });
  fc.assert(
    fc.property(part, part, part, around, around, (head, body, tail, before, after) => {
      const token = `eyJ${head}.eyJ${body}.${tail}`;
      expect(redact(`${before}${token}${after}`)).not.toContain(body.length > 6 ? body : token);
    }),
  );
});
