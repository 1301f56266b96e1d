import { expect, test } from "vitest";
import { MAX_WAITING_FOR_KEYS } from "../../src/limits.ts";
import { AUDIENCE, createFixture, expectRejection } from "../fixture.ts";

const HOUR_MS = 3_600_000;
const lasting = { aud: AUDIENCE, exp: 4_000_000_000 };

test("a rotated key is found by one refresh", async () => {
  await using fixture = await createFixture();
  await fixture.verify(await fixture.issuer.sign(lasting));
  await fixture.issuer.rotate();
  fixture.clock.advance(10_000);
  const token = await fixture.issuer.sign(lasting);
  await Promise.all([fixture.verify(token), fixture.verify(token), fixture.verify(token)]);
  expect(fixture.issuer.requests.keys).toBe(2);
});

test("a key rotated within the cooldown is refused, and found after it", async () => {
  await using fixture = await createFixture();
  await fixture.verify(await fixture.issuer.sign(lasting));
  await fixture.issuer.rotate();
  const token = await fixture.issuer.sign(lasting);
  fixture.clock.advance(9_999);
  await expectRejection(fixture.verify(token), "CC_TOKEN_INVALID", /kid/, token);
  fixture.clock.advance(1);
  await expect(fixture.verify(token)).resolves.toBeDefined();
});

test("a withdrawn key is believed for an hour at most", async () => {
  await using fixture = await createFixture();
  const token = await fixture.issuer.sign(lasting);
  await fixture.verify(token);
  await fixture.issuer.rotate({ forget: true });
  fixture.clock.advance(HOUR_MS - 1);
  await expect(fixture.verify(token)).resolves.toBeDefined();
  fixture.clock.advance(1);
  await expectRejection(fixture.verify(token), "CC_TOKEN_INVALID", /kid/, token);
});

test("keys are kept for a day while the issuer is down, then nothing is believed", async () => {
  await using fixture = await createFixture();
  const token = await fixture.issuer.sign(lasting);
  await fixture.verify(token);
  await fixture.issuer.stop();
  fixture.clock.advance(24 * HOUR_MS - 1);
  await expect(fixture.verify(token)).resolves.toBeDefined();
  expect(fixture.verifier.status()[0]?.failure).toMatchObject({ code: "CC_ISSUER_UNREACHABLE" });
  fixture.clock.advance(1);
  await expectRejection(fixture.verify(token), "CC_ISSUER_UNREACHABLE", /no keys of the issuer/, token);
});

test("an issuer that comes back is used again", async () => {
  await using fixture = await createFixture();
  const token = await fixture.issuer.sign(lasting);
  await fixture.issuer.stop();
  await expectRejection(fixture.verify(token), "CC_ISSUER_UNREACHABLE", /no keys/, token);
  await fixture.issuer.start();
  await expectRejection(fixture.verify(token), "CC_ISSUER_UNREACHABLE", /no keys/, token);
  fixture.clock.advance(1_000);
  await expect(fixture.verify(token)).resolves.toBeDefined();
  expect(fixture.verifier.status()[0]).not.toHaveProperty("failure");
});

test.each([
  ["another issuer's name", { issuer: "https://example.com", jwks_uri: "https://example.com/keys" }, /does not name/],
  ["no key address", (url: string) => ({ issuer: url }), /no jwks_uri/],
  ["a key address that is no URL", (url: string) => ({ issuer: url, jwks_uri: "keys" }), /no jwks_uri/],
  ["an http key address elsewhere", (url: string) => ({ issuer: url, jwks_uri: "http://10.0.0.1/k" }), /not an https/],
  ["a file as the key address", (url: string) => ({ issuer: url, jwks_uri: "file:///etc/passwd" }), /not an https/],
  ["no object", [], /not a JSON object/],
  ["no JSON", "<html>", /not a JSON object/],
])("a discovery document with %s gives no keys", async (_case, document, words) => {
  await using fixture = await createFixture();
  fixture.issuer.answers.discovery = typeof document === "function" ? document(fixture.issuer.url) : document;
  const token = await fixture.issuer.sign(lasting);
  await expectRejection(fixture.verify(token), "CC_ISSUER_UNREACHABLE", /no keys/, token);
  expect(fixture.verifier.status()[0]?.failure?.message).toMatch(words);
});

test.each([
  ["no list", { keys: {} }, /not a key set/],
  ["too many keys", { keys: Array.from({ length: 257 }, () => ({ kty: "RSA" })) }, /more than 256 keys/],
  ["too many bytes", { keys: [], filler: "x".repeat(1_100_000) }, /more than 1048576/],
])("a key set with %s gives no keys", async (_case, keys, words) => {
  await using fixture = await createFixture();
  fixture.issuer.answers.keys = keys;
  const token = await fixture.issuer.sign(lasting);
  await expectRejection(fixture.verify(token), "CC_ISSUER_UNREACHABLE", /no keys/, token);
  expect(fixture.verifier.status()[0]?.failure?.message).toMatch(words);
});

test("a redirect is not followed", async () => {
  await using fixture = await createFixture();
  await using other = await createFixture();
  fixture.issuer.answers.status = 302;
  fixture.issuer.answers.location = `${other.issuer.url}/keys`;
  const token = await fixture.issuer.sign(lasting);
  await expectRejection(fixture.verify(token), "CC_ISSUER_UNREACHABLE", /no keys/, token);
  expect(fixture.verifier.status()[0]?.failure?.message).toMatch(/status 302$/);
  expect(other.issuer.requests).toEqual({ discovery: 0, keys: 0, other: 0 });
});

test("a symmetric key in the key set is left out", async () => {
  await using fixture = await createFixture();
  fixture.issuer.answers.keys = { keys: [{ kty: "oct", k: "c2VjcmV0", kid: "a" }, 7, ...fixture.issuer.publicKeys()] };
  await expect(fixture.verify(await fixture.issuer.sign(lasting))).resolves.toBeDefined();
});

test("a key that is listed twice is one key, also where only one of both says what it is for", async () => {
  await using fixture = await createFixture();
  const [key] = fixture.issuer.publicKeys();
  const twice = [{ ...key, use: "enc" }, key, { ...key, use: "sig" }, { ...key, x5t: "thumbprint" }];
  fixture.issuer.answers.keys = { keys: twice };
  await expect(fixture.verify(await fixture.issuer.sign(lasting))).resolves.toBeDefined();
});

test.each<readonly [string, unknown]>([
  ["that is cut", { kty: "RSA", kid: "cut", n: "AQAB" }],
  ["of a curve that is not known", { kty: "EC", kid: "curve", crv: "P-999", x: "AA", y: "AA" }],
  ["whose id is a number", { kty: "EC", kid: 7, crv: "P-256", x: "AA", y: "AA" }],
  ["for encryption", { kty: "RSA", kid: "enc", use: "enc", n: "AQAB", e: "AQAB" }],
  ["of a kind of tomorrow", { kty: "AKP", kid: "pq", alg: "ML-DSA-44", pub: "AA" }],
  ["that is null", null],
])("a key %s beside the issuer's own stops no token of that", async (_what, odd) => {
  await using fixture = await createFixture();
  fixture.issuer.answers.keys = { keys: [odd, ...fixture.issuer.publicKeys(), odd] };
  await expect(fixture.verify(await fixture.issuer.sign(lasting))).resolves.toBeDefined();
});

test("two keys under one id are told apart by nothing, and refused", async () => {
  await using fixture = await createFixture();
  await using other = await createFixture();
  const [own, foreign] = [fixture.issuer.publicKeys()[0], other.issuer.publicKeys()[0]];
  fixture.issuer.answers.keys = { keys: [own, { ...foreign, kid: own?.["kid"] }] };
  const token = await fixture.issuer.sign(lasting);
  await expectRejection(fixture.verify(token), "CC_TOKEN_INVALID", /which of its issuer's keys/, token);
});

test("an RSA key below 2048 bits is not used", async () => {
  await using fixture = await createFixture({ algorithms: ["RS256"] });
  const [key] = fixture.issuer.publicKeys();
  fixture.issuer.answers.keys = { keys: [{ ...key, n: String(key?.["n"]).slice(0, 171) }] };
  const token = await fixture.issuer.sign(lasting);
  await expectRejection(fixture.verify(token), "CC_TOKEN_INVALID", /cannot be|signature/, token);
});

test("load fails with the first issuer that has no keys, and status names it", async () => {
  await using fixture = await createFixture();
  await fixture.issuer.stop();
  const signal = AbortSignal.timeout(5_000);
  await expectRejection(fixture.verifier.load({ signal }), "CC_ISSUER_UNREACHABLE", /no keys of the issuer http:/);
  expect(fixture.verifier.status()).toMatchObject([{ issuer: fixture.issuer.url, failure: {} }]);
});

test("an issuer that never answers is given up after the timeout", async () => {
  await using fixture = await createFixture({ verifier: { timeoutMs: 50 } });
  fixture.issuer.answers.hang = true;
  const token = await fixture.issuer.sign(lasting);
  await expectRejection(fixture.verify(token), "CC_ISSUER_UNREACHABLE", /no keys/, token);
  expect(fixture.verifier.status()[0]?.failure?.message).toMatch(/did not answer in time$/);
});

test("so many tokens with an invented key wait for a fetch, one more is told to come again, and good ones go on", async () => {
  await using fixture = await createFixture();
  const good = await fixture.issuer.sign(lasting);
  await fixture.verify(good);
  await fixture.issuer.rotate();
  const newer = await fixture.issuer.sign(lasting);
  fixture.clock.advance(10_000);
  fixture.issuer.answers.hang = true;
  const waiting = Array.from({ length: MAX_WAITING_FOR_KEYS }, () => fixture.verify(newer));
  await expect.poll(() => fixture.issuer.requests.discovery).toBe(2);
  await expectRejection(fixture.verify(newer), "CC_LIMIT_REACHED", /wait for new keys/, newer);
  await expect(fixture.verify(good)).resolves.toBeDefined();
  for (const one of waiting) await expectRejection(one, "CC_TOKEN_INVALID", /kid/, newer);
  await expectRejection(fixture.verify(newer), "CC_TOKEN_INVALID", /kid/, newer);
});
