import { ConnectError } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import { aheadOf, describeSkew, isOff, MAX_SKEW_MS, watchClock, withClock } from "../../src/relay/clock-skew.ts";
import { networkError } from "../../src/relay/network-error.ts";

const NOW = Date.parse("2026-03-01T12:00:00Z");
const HOUR_MS = 3_600_000;
const answer = (headers: Readonly<Record<string, string>>): Response => new Response(null, { headers });
const dated = (at: number): Response => answer({ date: new Date(at).toUTCString() });

test("a clock is ahead of a server's by what the server's answer says, also where the answer was stored on the way", () => {
  expect(aheadOf(dated(NOW - 5 * HOUR_MS), NOW, NOW)).toBe(5 * HOUR_MS);
  expect(aheadOf(dated(NOW + HOUR_MS), NOW - 1_000, NOW + 1_000)).toBe(-HOUR_MS);
  const stored = answer({ date: new Date(NOW - HOUR_MS).toUTCString(), age: "3600" });
  expect(aheadOf(stored, NOW, NOW)).toBe(0);
  expect(aheadOf(answer({}), NOW, NOW)).toBeUndefined();
  expect(aheadOf(answer({ date: "soon" }), NOW, NOW)).toBeUndefined();
});

test("a minute is borne, and more is told with the server's name", () => {
  const skew = (aheadMs: number) => ({ host: "login.example.com", aheadMs });
  expect([MAX_SKEW_MS, -MAX_SKEW_MS].map((aheadMs) => isOff(skew(aheadMs)))).toEqual([false, false]);
  expect([MAX_SKEW_MS + 1, -MAX_SKEW_MS - 1].map((aheadMs) => isOff(skew(aheadMs)))).toEqual([true, true]);
  expect(describeSkew(skew(5 * HOUR_MS))).toBe("this machine's clock is 5h ahead of login.example.com's");
  // An answer takes its time, and servers tell whole seconds.
  expect(describeSkew(skew(5 * HOUR_MS - 900))).toBe("this machine's clock is 5h ahead of login.example.com's");
  expect(describeSkew(skew(-240 * HOUR_MS))).toBe("this machine's clock is 10d behind login.example.com's");
});

test.each([
  [5 * HOUR_MS, "5h ahead of relay.test:8443's"],
  [-5 * HOUR_MS, "5h behind relay.test:8443's"],
])("a failure that the clock may have brought about says how far it is off: %i ms", async (aheadMs, words) => {
  const witness = watchClock({ fetch: async () => dated(NOW - aheadMs), now: () => NOW });
  const expired = new ConnectError("CC_TOKEN_EXPIRED", "The token has expired");
  expect(withClock(expired, witness, NOW)).toBe(expired);
  await witness.fetch("https://relay.test:8443/v1/info");
  expect(withClock(expired, witness, NOW)).toMatchObject({
    code: "CC_TOKEN_EXPIRED",
    message: expired.message,
    hint: expect.stringMatching(new RegExp(`^Set this machine's clock .*${words}.*${expired.hint.slice(0, 20)}`)),
  });
  const offline = new ConnectError("CC_AGENT_OFFLINE", "No agent is connected");
  expect(withClock(offline, witness, NOW)).toBe(offline);
});

test("a clock that is right is no reason", async () => {
  const witness = watchClock({ fetch: async () => dated(NOW), now: () => NOW });
  await witness.fetch("https://relay.test/");
  const expired = new ConnectError("CC_TOKEN_EXPIRED", "The token has expired");
  expect(withClock(expired, witness, NOW)).toBe(expired);
});

test.each(["CERT_HAS_EXPIRED", "CERT_NOT_YET_VALID"])("a certificate with %s leads to the clock first", (code) => {
  const cause = Object.assign(new Error("certificate"), { code });
  const error = withClock(networkError("relay.test", "CC_RELAY_UNREACHABLE", cause), { skew: undefined }, NOW);
  expect(error).toMatchObject({
    code: "CC_TLS_UNTRUSTED",
    message: `The certificate of relay.test is not trusted: ${code}; this machine's clock says 2026-03-01T12:00:00Z`,
    hint: expect.stringMatching(/^Compare this machine's clock/),
  });
  const skew = { host: "relay.test", aheadMs: -5 * HOUR_MS };
  expect(withClock(networkError("prod", "CC_RELAY_UNREACHABLE", cause), { skew }, NOW).message).toMatch(
    /; this machine's clock says 2026-03-01T12:00:00Z, and this machine's clock is 5h behind relay\.test's$/,
  );
  // A process that this one has started said it already.
  expect(withClock(error, { skew: undefined }, NOW)).toBe(error);
});
