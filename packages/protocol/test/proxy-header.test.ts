import { isIPv6 } from "node:net";
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  decodeOpen,
  decodeProxyHeader,
  encodeOpen,
  encodeProxyHeader,
  encodeProxyQuestion,
  MAX_PROXY_HEADER_BYTES,
  type Open,
  parseClusterId,
  parseCorrelationId,
  parseSecret,
  parseSessionId,
  type StreamOrigin,
} from "../src/index.ts";

const REFUSED = expect.objectContaining({ code: "CC_REQUEST_REFUSED" });
const SIGNATURE = "0d0a0d0a000d0a515549540a";

/** A header by its parts in hex; the length is right unless one is given. */
function header(commandAndFamily: string, body: string, length = body.length / 2): Uint8Array {
  return Uint8Array.from(
    Buffer.from(`${SIGNATURE}${commandAndFamily}${length.toString(16).padStart(4, "0")}${body}`, "hex"),
  );
}

function tlv(type: number, value: string | Uint8Array): string {
  const bytes = Buffer.from(value);
  const head = Buffer.from([type, 0, 0]);
  head.writeUInt16BE(bytes.length, 1);
  return Buffer.concat([head, bytes]).toString("hex");
}

const optional = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.option(arbitrary, { nil: undefined });
const ORIGINS: fc.Arbitrary<StreamOrigin> = fc.record({
  address: optional(fc.oneof(fc.ipV4(), fc.ipV6())),
  sessionId: optional(fc.stringMatching(/^[A-Za-z0-9_-]{8,64}$/)),
  correlationId: optional(fc.stringMatching(/^[0-9a-f]{16,32}$/)),
  username: optional(fc.string({ unit: "binary", maxLength: 1_000 }).filter((name) => name.isWellFormed())),
  traceparent: optional(fc.stringMatching(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)),
});

test("every origin is read as it was written, whatever follows the header, and any part of it is incomplete", () => {
  fc.assert(
    fc.property(ORIGINS, fc.uint8Array({ maxLength: 20 }), fc.nat(), (origin, rest, cut) => {
      const bytes = encodeProxyHeader(origin);
      const decoded = decodeProxyHeader(Buffer.concat([bytes, rest]));
      const known = Object.fromEntries(Object.entries(origin).filter(([, value]) => value !== undefined));
      const address = known["address"];
      // IPv6 has many spellings; the one of RFC 5952 comes back.
      const expected = address !== undefined && isIPv6(address) ? { ...known, address: canonical(address) } : known;
      expect(decoded).toEqual({ kind: "complete", headerBytes: bytes.length, origin: expected });
      expect(decodeProxyHeader(bytes.subarray(0, cut % bytes.length))).toEqual({ kind: "incomplete" });
    }),
    { numRuns: 1_000 },
  );
});

function canonical(address: string): string {
  return new URL(`http://[${address}]`).hostname.slice(1, -1);
}

test("any bytes give an answer or a refusal", () => {
  const whole = encodeProxyHeader({ address: "203.0.113.7", sessionId: "session-1", username: "Zoë" });
  const prefix = fc.constantFrom(new Uint8Array(0), whole.subarray(0, 12), whole.subarray(0, 16));
  fc.assert(
    fc.property(prefix, fc.uint8Array({ maxLength: 64 }), (head, tail) => {
      try {
        const decoded = decodeProxyHeader(Buffer.concat([head, tail]));
        if (decoded.kind === "complete") expect(decoded.headerBytes).toBeLessThanOrEqual(MAX_PROXY_HEADER_BYTES);
      } catch (error) {
        expect(error).toEqual(REFUSED);
      }
    }),
    { numRuns: 5_000 },
  );
});

test("an IPv4 address is written as PROXY over TCP4, with the unspecified destination and no ports", () => {
  expect(encodeProxyHeader({ address: "198.51.100.7" })).toEqual(header("2111", `c6336407${"0".repeat(16)}`));
});

test.each([
  ["2001:db8::7", "20010db8000000000000000000000007"],
  ["::", "00000000000000000000000000000000"],
  ["::1", "00000000000000000000000000000001"],
  ["fe80::1%eth0", "fe800000000000000000000000000001"],
  ["64:ff9b::192.0.2.33", "0064ff9b0000000000000000c0000221"],
  ["1:2:3:4:5:6:7:8", "00010002000300040005000600070008"],
  ["1::", "00010000000000000000000000000000"],
])("the IPv6 address %s is written as PROXY over TCP6", (address, hex) => {
  expect(encodeProxyHeader({ address })).toEqual(header("2121", hex + "0".repeat(40)));
});

test.each([undefined, "", "relay.example.com", "1", "300.1.1.1", "::1::", "[::1]", "1.2.3.4:80"])(
  "without an address (%j) the command is LOCAL",
  (address) => {
    expect(encodeProxyHeader({ address })).toEqual(header("2000", ""));
  },
);

test("the longest OPEN fits into a header, and a byte more than the longest header is refused at both ends", () => {
  const text = "\u{fffd}".repeat(1_024);
  const caller = { issuer: "i", subject: "s", username: text, address: "2001:db8:1:2:3:4:5:6" };
  const open: Open = {
    cluster: parseClusterId("a"),
    upstream: "kubernetes",
    windowBytes: 1,
    graceMs: 0,
    viaPeer: false,
    caller,
    key: parseSecret("A".repeat(43)),
    correlationId: parseCorrelationId("f".repeat(32)),
    sessionId: parseSessionId("s".repeat(64)),
    traceparent: "\u{fffd}".repeat(128),
  };
  const { correlationId, sessionId, traceparent } = decodeOpen(encodeOpen(open));
  const origin = { address: caller.address, username: text, correlationId, sessionId, traceparent };
  expect(encodeProxyHeader(origin).length).toBeLessThanOrEqual(MAX_PROXY_HEADER_BYTES);

  const longest = MAX_PROXY_HEADER_BYTES - 16 - 3;
  const username = "u".repeat(longest);
  expect(encodeProxyHeader({ username })).toHaveLength(MAX_PROXY_HEADER_BYTES);
  expect(decodeProxyHeader(encodeProxyHeader({ username }))).toMatchObject({ kind: "complete", origin: { username } });
  expect(() => encodeProxyHeader({ username: `${username}u` })).toThrow(REFUSED);
  expect(() => decodeProxyHeader(header("2000", tlv(0xe2, `${username}u`)))).toThrow(REFUSED);
});

test("fields of an unknown type are skipped, and so is the address of a LOCAL header", () => {
  const body = `01020304${"0".repeat(16)}${tlv(0x04, "\0")}${tlv(0xe1, "correlation-1")}`;
  expect(decodeProxyHeader(header("2011", body))).toMatchObject({ origin: { correlationId: "correlation-1" } });
  expect(decodeProxyHeader(header("2011", body))).not.toHaveProperty("origin.address");
});

test.each([
  ["a TLS handshake", Buffer.from("1603010200", "hex")],
  ["version 1", Buffer.from("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n")],
  ["another version", header("1100", "")],
  ["another command", header("2200", "")],
  ["a unix address", header("2131", "")],
  ["UDP", header("2112", "0".repeat(24))],
  ["an address cut off", header("2111", "01020304")],
  ["an IPv6 address cut off", header("2121", "0".repeat(70))],
  ["a field cut off", header("2000", "e000ff")],
  ["a field's head cut off", header("2000", "e000")],
  ["an id with a line break", header("2000", tlv(0xe0, "a\nb"))],
  ["an empty id", header("2000", tlv(0xe1, ""))],
  ["an id of 129 characters", header("2000", tlv(0xe1, "c".repeat(129)))],
  ["a username that is not UTF-8", header("2000", tlv(0xe2, Buffer.from([0xff])))],
  ["a username said twice", header("2000", tlv(0xe2, "alice") + tlv(0xe2, "bob"))],
  ["a header that is too long", header("2000", "", 0xffff)],
])("%s is no such header", (_what, bytes) => {
  expect(() => decodeProxyHeader(bytes)).toThrow(REFUSED);
});

test("a question is told from every origin, whole and cut off, and from a header that only begins as one", () => {
  const question = encodeProxyQuestion();
  expect(question).toEqual(header("2000", tlv(0xe4, "")));
  expect(decodeProxyHeader(question)).toEqual({ kind: "question" });
  for (let bytes = 0; bytes < question.length; bytes += 1) {
    expect(decodeProxyHeader(question.subarray(0, bytes))).toEqual({ kind: "incomplete" });
  }
  const caller = header("2111", `cb007107${"0".repeat(16)}${tlv(0xe4, "")}`);
  expect(decodeProxyHeader(caller)).toMatchObject({ kind: "complete", origin: { address: "203.0.113.7" } });
});
