import { ConnectError, decodeProbe, encodeProbe } from "@cluster-connect/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import { parseAuthorities } from "../src/agents/authorities.ts";
import { firstFailure } from "../src/agents/probe.ts";
import { parseCommandLine } from "../src/commands/command-line.ts";
import { parseDuration } from "../src/commands/duration.ts";
import { isNetwork } from "../src/config-values.ts";
import { createCallerAddress } from "../src/http/caller-address.ts";
import { pem } from "./support/fixture.ts";

/** Every input gives a value, or an error of ours. */
function isTotal<T>(parse: (input: T) => unknown): (input: T) => void {
  return (input) => {
    try {
      parse(input);
    } catch (error) {
      expect(error).toBeInstanceOf(ConnectError);
    }
  };
}

test("no text makes a parser fail with anything but an error of ours", () => {
  const texts = fc.oneof(fc.string({ unit: "binary" }), fc.json(), fc.constant(pem("leaf")));
  for (const parse of [parseDuration, parseAuthorities]) {
    fc.assert(fc.property(texts, isTotal<string>(parse)), { numRuns: 500 });
  }
});

test("no arguments make the command line fail with anything but an error of ours", () => {
  const word = fc.oneof(
    fc.string(),
    fc.constantFrom(
      "serve",
      "enroll",
      "clusters",
      "revoke",
      "--cluster",
      "--expires",
      "--key",
      "-o",
      "json",
      "--",
      "-c",
    ),
  );
  fc.assert(fc.property(fc.array(word, { maxLength: 6 }), isTotal(parseCommandLine)), { numRuns: 2_000 });
});

test("a duration is the sum of its parts", () => {
  const count = fc.integer({ min: 1, max: 300 });
  fc.assert(
    fc.property(count, count, count, (days, hours, seconds) => {
      expect(parseDuration(`${days}d${hours}h${seconds}s`)).toBe(((days * 24 + hours) * 3_600 + seconds) * 1_000);
    }),
  );
});

test("certificates are read whatever stands between them", () => {
  const noise = fc.string().filter((text) => !text.includes("-----"));
  fc.assert(
    fc.property(noise, noise, (before, between) => {
      const bundle = `${before}\n${pem("authority")}${between}\n${pem("other-authority")}`;
      expect(parseAuthorities(bundle).pem).toBe(pem("authority") + pem("other-authority"));
    }),
    { numRuns: 100 },
  );
});

test("the caller's address is an address or nothing, and never a trusted proxy's when another is named", () => {
  const hop = fc.oneof(fc.ipV4(), fc.ipV6(), fc.string());
  const addressOf = createCallerAddress(["127.0.0.0/8", "::1"]);
  fc.assert(
    fc.property(fc.array(hop), fc.ipV4(), (hops, caller) => {
      fc.pre(!caller.startsWith("127."));
      const headersDistinct = { "x-forwarded-for": [...hops, caller, "127.0.0.9"] };
      expect(addressOf({ socket: { remoteAddress: "127.0.0.1" }, headersDistinct })).toBe(caller);
    }),
  );
});

test("a health answer is well only when each hop says so", () => {
  const hop = fc.record({ ok: fc.boolean(), text: fc.string({ minLength: 1, maxLength: 100 }) });
  fc.assert(
    fc.property(fc.record({ agent: hop, authProxy: hop, apiserver: hop }), (document) => {
      const failure = firstFailure(decodeProbe(encodeProbe(document)));
      expect(failure === undefined).toBe(document.agent.ok && document.authProxy.ok && document.apiserver.ok);
    }),
  );
});

test.each([
  ["10.0.0.0/8", true],
  ["10.0.0.1", true],
  ["::1", true],
  ["2001:db8::/32", true],
  ["10.0.0.0/33", false],
  ["::/129", false],
  ["10.0.0.0/", false],
  ["10.0.0.0/8/8", false],
  ["relay.example.com", false],
  ["", false],
])("%j is a network: %s", (text, expected) => {
  expect(isNetwork(text)).toBe(expected);
});
