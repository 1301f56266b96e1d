import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { bareHost, certificateBlocks, isLoopbackHost, systemCode, withoutPrivateKeys } from "../src/index.ts";

const block = (kind: string, body: string): string => `-----BEGIN ${kind}-----\n${body}\n-----END ${kind}-----`;

test("the certificates of a text come in their order, without what stands between them", () => {
  const [one, two] = [block("CERTIFICATE", "AAAA"), block("CERTIFICATE", "BBBB")];
  const text = `# größe\n${one}\n${block("PRIVATE KEY", "S")}\nmore\n${two}\n`;
  expect(certificateBlocks(text)).toEqual([one, two]);
  expect(certificateBlocks("-----BEGIN CERTIFICATE-----\nAAAA")).toEqual([]);
});

test("no private key is left in a text, also none that is cut off, and $ in its place stands for itself", () => {
  const text = `a\n${block("EC PRIVATE KEY", "secret")}\nb\n${block("PRIVATE KEY", "secret").slice(0, 40)}`;
  expect(withoutPrivateKeys(text, "[$&]")).toBe("a\n[$&]\nb\n[$&]");
});

test.each([
  ["[::1]", "::1", true],
  ["::1", "::1", true],
  ["localhost", "localhost", true],
  ["127.0.0.1", "127.0.0.1", true],
  ["127.9.9.9", "127.9.9.9", true],
  ["128.0.0.1", "128.0.0.1", false],
  ["127.0.0.1.example.com", "127.0.0.1.example.com", false],
  ["localhost.example.com", "localhost.example.com", false],
  ["[fe80::1]", "fe80::1", false],
])("%s is %s without brackets; loopback: %s", (host, bare, loopback) => {
  expect(bareHost(host)).toBe(bare);
  expect(isLoopbackHost(host)).toBe(loopback);
});

test("the system's code of an error is found, and of nothing else", () => {
  try {
    readFileSync("/no/such/file");
  } catch (error) {
    expect(systemCode(error)).toBe("ENOENT");
  }
  for (const other of [new Error("x"), { code: "ENOENT" }, undefined, Object.assign(new Error("x"), { code: 7 })]) {
    expect(systemCode(other)).toBe("");
  }
});
