import fc from "fast-check";
import { expect, test } from "vitest";
import { encodeProxyHeader, type StreamOrigin } from "../src/proxy-header.ts";

/** Reads a header again, by the specification and not by the code under test. */
function decode(bytes: Uint8Array) {
  const header = Buffer.from(bytes);
  const family = header.readUInt8(13);
  const length = header.readUInt16BE(14);
  const addressLength = { 0: 0, 17: 12, 33: 36 }[family] ?? -1;
  const tlvs: [number, string][] = [];
  let at = 16 + addressLength;
  while (at < header.length) {
    const size = header.readUInt16BE(at + 1);
    tlvs.push([header.readUInt8(at), header.subarray(at + 3, at + 3 + size).toString("utf8")]);
    at += 3 + size;
  }
  return {
    command: header.readUInt8(12),
    family,
    length,
    address: header.subarray(16, 16 + addressLength),
    tlvs,
    at,
    total: header.length,
  };
}

test("any origin is written so that it reads back, and the length covers all of it", () => {
  const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
  const origins: fc.Arbitrary<StreamOrigin> = fc.record({
    address: optional(fc.oneof(fc.ipV4(), fc.ipV6(), fc.string())),
    sessionId: optional(fc.stringMatching(/^[A-Za-z0-9_-]{8,64}$/)),
    correlationId: optional(fc.stringMatching(/^[0-9a-f]{16,32}$/)),
    username: optional(fc.string({ unit: "binary", maxLength: 1_024 }).filter((name) => name.isWellFormed())),
    traceparent: optional(fc.stringMatching(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)),
  });
  fc.assert(
    fc.property(origins, (origin) => {
      const { total, length, at, tlvs } = decode(encodeProxyHeader(origin));
      expect(total).toBe(16 + length);
      expect(at).toBe(total);
      const expected = [
        [0xe0, origin.sessionId],
        [0xe1, origin.correlationId],
        [0xe2, origin.username],
        [0xe3, origin.traceparent],
      ].filter(([, value]) => value !== undefined);
      expect(tlvs).toEqual(expected);
    }),
    { numRuns: 1_000 },
  );
});

test("an IPv4 address is written as PROXY over TCP4, with the unspecified destination and no ports", () => {
  const { command, family, address } = decode(encodeProxyHeader({ address: "198.51.100.7" }));
  expect([command, family]).toEqual([0x21, 0x11]);
  expect(address.toString("hex")).toBe("c63364070000000000000000");
});

test.each([
  ["2001:db8::7", "20010db8000000000000000000000007"],
  ["::", "00000000000000000000000000000000"],
  ["::1", "00000000000000000000000000000001"],
  ["fe80::1%eth0", "fe800000000000000000000000000001"],
  ["64:ff9b::192.0.2.33", "0064ff9b0000000000000000c0000221"],
  ["1:2:3:4:5:6:7:8", "00010002000300040005000600070008"],
  ["1::", "00010000000000000000000000000000"],
])("the IPv6 address %s is written as PROXY over TCP6", (text, hex) => {
  const { command, family, address } = decode(encodeProxyHeader({ address: text }));
  expect([command, family]).toEqual([0x21, 0x21]);
  expect(address.toString("hex")).toBe(hex + "0".repeat(40));
});

test.each([undefined, "", "relay.example.com"])("without an address (%j) the command is LOCAL", (address) => {
  expect(decode(encodeProxyHeader({ address }))).toMatchObject({ command: 0x20, family: 0, length: 0 });
});
