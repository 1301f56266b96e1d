import { expect, test } from "vitest";
import { createCallerAddress, isFromThisMachine, networkOf } from "../../src/http/caller-address.ts";

/** The caller's address of a request from that address with those X-Forwarded-For lines. */
function addressOf(trusted: readonly string[], remoteAddress: string, ...forwarded: string[]): string | undefined {
  const request = { socket: { remoteAddress }, headersDistinct: { "x-forwarded-for": forwarded } };
  return createCallerAddress(trusted)(request);
}

test("without a trusted proxy the socket's address counts, whatever the header says", () => {
  expect(addressOf([], "203.0.113.9", "198.51.100.1")).toBe("203.0.113.9");
  expect(addressOf(["10.0.0.0/8"], "203.0.113.9", "198.51.100.1")).toBe("203.0.113.9");
});

test("behind trusted proxies the first address from the right that is none of them counts", () => {
  expect(addressOf(["10.0.0.0/8"], "10.1.1.1", "198.51.100.1")).toBe("198.51.100.1");
  expect(addressOf(["10.0.0.0/8"], "10.1.1.1", "6.6.6.6, 198.51.100.1", "10.2.2.2")).toBe("198.51.100.1");
  expect(addressOf(["10.0.0.0/8"], "10.1.1.1")).toBe("10.1.1.1");
});

test("IPv6, ports and the IPv4-in-IPv6 form are understood", () => {
  expect(addressOf(["::1"], "::1", "[2001:db8::7]:4433")).toBe("2001:db8::7");
  expect(addressOf(["127.0.0.1"], "::ffff:127.0.0.1", "198.51.100.1:80")).toBe("198.51.100.1");
});

test("a forwarded value that is no address ends the search at the proxy that wrote it", () => {
  expect(addressOf(["10.0.0.0/8"], "10.1.1.1", "198.51.100.1, unknown")).toBe("10.1.1.1");
});

test.each([
  ["203.0.113.9", "203.0.113.9"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
  ["2001:0DB8:1:2::", "2001:db8:1:2::/64"],
  ["2001:db8::7", "2001:db8:0:0::/64"],
  ["fe80::1%eth0", "fe80:0:0:0::/64"],
  ["::1", "0:0:0:0::/64"],
  ["::ffff:cb00:7109", "::ffff:cb00:7109"],
  ["64:ff9b::203.0.113.9", "64:ff9b::203.0.113.9"],
])("%s counts as %s", (address, network) => {
  expect(networkOf(address)).toBe(network);
});

test.each([
  ["127.0.0.1", true],
  ["127.9.9.9", true],
  ["::1", true],
  ["::ffff:127.0.0.1", true],
  ["203.0.113.7", false],
  ["::ffff:203.0.113.7", false],
  ["fd00::1", false],
  [undefined, false],
])("whether %s is this machine: %s", (remoteAddress, expected) => {
  expect(isFromThisMachine({ socket: { remoteAddress }, headersDistinct: {} })).toBe(expected);
});
