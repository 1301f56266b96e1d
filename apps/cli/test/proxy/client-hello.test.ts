import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MAX_HELLO_BYTES, readFirstBytes } from "../../src/proxy/client-hello.ts";
import { clientHello, realClientHello, records, serverNameExtension } from "../support/client-hello.ts";

const NAME = "prod.clusters.cluster-connect.internal";
const name = fc.stringMatching(/^[a-z0-9]([a-z0-9.-]{0,60}[a-z0-9])?$/);
const otherExtension = fc.tuple(fc.integer({ min: 1, max: 65_535 }), fc.uint8Array({ maxLength: 200 }));

test("Node's own ClientHello is read, with and without a server name", async () => {
  const named = await realClientHello({ servername: NAME });
  expect(readFirstBytes(named)).toEqual({ kind: "hello", serverName: NAME });
  const unnamed = await realClientHello({ servername: "" });
  expect(readFirstBytes(unnamed)).toEqual({ kind: "hello", serverName: undefined });
});

test("a TLS 1.2 ClientHello is read", async () => {
  const hello = await realClientHello({ servername: NAME, maxVersion: "TLSv1.2" });
  expect(readFirstBytes(hello)).toEqual({ kind: "hello", serverName: NAME });
});

describe("for any name, extensions and cut into records", () => {
  test("the name is found", () => {
    fc.assert(
      fc.property(
        name,
        fc.array(otherExtension, { maxLength: 8 }),
        fc.integer({ min: 1, max: 600 }),
        (wanted, others, size) => {
          const hello = records(clientHello([...others, serverNameExtension(wanted)]), size);
          expect(readFirstBytes(hello)).toEqual({ kind: "hello", serverName: wanted });
        },
      ),
    );
  });

  test("every beginning is incomplete, never another answer", () => {
    fc.assert(
      fc.property(
        name,
        fc.integer({ min: 1, max: 80 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (wanted, size, share) => {
          const hello = records(clientHello([serverNameExtension(wanted)]), size);
          const cut = Math.floor(share * (hello.length - 1));
          expect(readFirstBytes(hello.subarray(0, cut))).toEqual({ kind: "incomplete" });
        },
      ),
    );
  });

  test("bytes that follow change nothing", () => {
    fc.assert(
      fc.property(name, fc.uint8Array({ maxLength: 50 }), (wanted, more) => {
        const hello = records(clientHello([serverNameExtension(wanted)]), 4_000);
        expect(readFirstBytes(Buffer.concat([hello, more]))).toEqual({ kind: "hello", serverName: wanted });
      }),
    );
  });
});

test("any bytes give an answer, and nothing above the limit is waited for", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
      expect(["incomplete", "other", "hello"]).toContain(readFirstBytes(bytes).kind);
    }),
  );
  const endless = records(Buffer.concat([Buffer.from([1, 0, 0xff, 0xff]), Buffer.alloc(MAX_HELLO_BYTES * 2)]), 16_384);
  expect(readFirstBytes(endless)).toEqual({ kind: "other" });
});

test("a mutated ClientHello gives an answer without reading beyond its end", () => {
  fc.assert(
    fc.property(name, fc.nat(), fc.integer({ min: 0, max: 255 }), (wanted, at, value) => {
      const hello = records(clientHello([serverNameExtension(wanted)]), 4_000);
      hello[at % hello.length] = value;
      expect(["incomplete", "other", "hello"]).toContain(readFirstBytes(hello).kind);
    }),
  );
});

test("a request in clear is other than TLS from its first byte on", () => {
  expect(readFirstBytes(Buffer.from("GET / HTTP/1.1\r\n"))).toEqual({ kind: "other" });
  expect(readFirstBytes(Buffer.from("G"))).toEqual({ kind: "other" });
  expect(readFirstBytes(Buffer.alloc(0))).toEqual({ kind: "incomplete" });
});

test("a server name with control characters, or two of them, is not taken", () => {
  const bad = records(clientHello([serverNameExtension("a\nb")]), 4_000);
  expect(readFirstBytes(bad)).toEqual({ kind: "other" });
  expect(readFirstBytes(records(clientHello([serverNameExtension("")]), 4_000))).toEqual({ kind: "other" });
});

test("a name in capitals is compared in lower case", () => {
  const hello = records(clientHello([serverNameExtension("PROD.Example")]), 4_000);
  expect(readFirstBytes(hello)).toEqual({ kind: "hello", serverName: "prod.example" });
});
