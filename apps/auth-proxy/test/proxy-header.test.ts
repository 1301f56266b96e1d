import fc from "fast-check";
import { expect, test } from "vitest";
import { MAX_PROXY_HEADER_BYTES } from "../src/limits.ts";
import { parseProxyHeader } from "../src/proxy-header.ts";
import { buildProxyHeader } from "./support/proxy-header.ts";

const REFUSED = expect.objectContaining({ code: "CC_REQUEST_REFUSED" });
const FIELDS = { address: [203, 0, 113, 7], sessionId: "session-1", correlationId: "c-1", username: "Zoë" } as const;

test("a header says who, from where and under which ids", () => {
  const bytes = buildProxyHeader(FIELDS);
  expect(parseProxyHeader(Buffer.concat([bytes, Buffer.from("rest")]))).toEqual({
    kind: "complete",
    headerBytes: bytes.length,
    origin: { address: "203.0.113.7", sessionId: "session-1", correlationId: "c-1", relayUsername: "Zoë" },
  });
});

test("a header without an address says nothing about it", () => {
  expect(parseProxyHeader(buildProxyHeader())).toEqual({ kind: "complete", headerBytes: 16, origin: {} });
});

test("an IPv6 address is read", () => {
  const address = Buffer.from("20010db8000000000000000000000001", "hex");
  const body = Buffer.concat([address, Buffer.alloc(20)]);
  const bytes = Buffer.concat([Buffer.from("0d0a0d0a000d0a515549540a21210024", "hex"), body]);
  expect(parseProxyHeader(bytes)).toMatchObject({ origin: { address: "2001:db8:0:0:0:0:0:1" } });
});

test("unknown fields are skipped", () => {
  const bytes = Buffer.concat([Buffer.from("0d0a0d0a000d0a515549540a20000004", "hex"), Buffer.from("04000100", "hex")]);
  expect(parseProxyHeader(bytes)).toMatchObject({ kind: "complete", origin: {} });
});

test.each([
  ["a TLS handshake", Buffer.from("1603010200", "hex")],
  ["version 1", Buffer.from("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n")],
  ["another version", Buffer.from("0d0a0d0a000d0a515549540a11000000", "hex")],
  ["another command", Buffer.from("0d0a0d0a000d0a515549540a22000000", "hex")],
  ["a unix address", Buffer.from("0d0a0d0a000d0a515549540a21310000", "hex")],
  ["an address cut off", Buffer.from("0d0a0d0a000d0a515549540a2111000401020304", "hex")],
  ["a field cut off", Buffer.from("0d0a0d0a000d0a515549540a20000003e000ff", "hex")],
  ["an id with a line break", buildProxyHeader({ sessionId: "a\nb" })],
  ["an empty id", buildProxyHeader({ correlationId: "" })],
  ["too long", Buffer.from("0d0a0d0a000d0a515549540a2000ffff", "hex")],
])("%s is no such header", (_what, bytes) => {
  expect(() => parseProxyHeader(bytes)).toThrow(REFUSED);
});

test("any part of a header is incomplete, any bytes give an answer or a refusal", () => {
  const whole = buildProxyHeader(FIELDS);
  for (let length = 0; length < whole.length; length += 1) {
    expect(parseProxyHeader(whole.subarray(0, length))).toEqual({ kind: "incomplete" });
  }
  const prefix = fc.constantFrom(Buffer.alloc(0), whole.subarray(0, 12), whole.subarray(0, 16));
  fc.assert(
    fc.property(prefix, fc.uint8Array({ maxLength: 64 }), (head, tail) => {
      try {
        const header = parseProxyHeader(Buffer.concat([head, tail]));
        if (header.kind === "complete") expect(header.headerBytes).toBeLessThanOrEqual(MAX_PROXY_HEADER_BYTES);
      } catch (error) {
        expect(error).toEqual(REFUSED);
      }
    }),
    { numRuns: 5_000 },
  );
});
