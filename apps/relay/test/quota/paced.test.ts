import type { Principal } from "@cluster-connect/auth";
import { createTokenBucket } from "@cluster-connect/base";
import {
  createFakeClock,
  createSessionChain,
  type FakeClock,
  openStream,
  readAll,
} from "@cluster-connect/framing/testing";
import { expect, test } from "vitest";
import { forwardPaced, openWaitMs } from "../../src/quota/forward-paced.ts";
import { createRates } from "../../src/quota/rates.ts";

const MEBIBYTE = 1_048_576;
const RATE = MEBIBYTE;

/** A chain whose relay lets one mebibyte per second through, of all streams together. */
function pacedChain(clock: FakeClock, bytesPerSecond = RATE) {
  const rate = createTokenBucket(bytesPerSecond, { burstSeconds: 1 }, clock);
  const chain = createSessionChain(
    { forward: (stream, target) => forwardPaced(stream, target, stream.request, { rate, clock }) },
    { clock },
  );
  return { ...chain, rate };
}

const seconds = async (clock: FakeClock, count: number): Promise<void> => {
  for (let step = 0; step < count * 10; step += 1) await clock.advance(100);
};

test.each(["up", "down"] as const)("bulk %s passes at the rate, and nothing of it is lost", async (way) => {
  const clock = createFakeClock();
  const { cli, incoming } = pacedChain(clock);
  const [near, far] = await openStream(cli, incoming);
  const [from, to] = way === "up" ? [near, far] : [far, near];
  const sent = Buffer.alloc(30 * MEBIBYTE, "0123456789abcdef");
  from.end(sent);
  const received = readAll(to);
  let last = 0;
  await seconds(clock, 4);
  last = to.bytesTaken;
  await seconds(clock, 10);
  const ratio = (to.bytesTaken - last) / (10 * RATE);
  expect(ratio).toBeGreaterThan(0.8);
  expect(ratio).toBeLessThan(1.1);
  await seconds(clock, 30);
  expect((await received).equals(sent)).toBe(true);
});

test("streams of one caller share the rate; a small one beside them does not wait for it", async () => {
  const clock = createFakeClock();
  const { cli, incoming } = pacedChain(clock);
  const bulk = [await openStream(cli, incoming), await openStream(cli, incoming), await openStream(cli, incoming)];
  for (const [near, far] of bulk) {
    near.write(Buffer.alloc(20 * MEBIBYTE));
    far.resume();
  }
  await seconds(clock, 5);
  const taken = () => bulk.reduce((sum, [, far]) => sum + far.bytesTaken, 0);
  const before = taken();
  const [key, echo] = await openStream(cli, incoming);
  echo.pipe(echo);
  key.on("data", (chunk: Buffer) => answered.push(chunk.length));
  const answered: number[] = [];
  for (let press = 1; press <= 50; press += 1) {
    key.write("k");
    await clock.advance(10);
    expect(answered).toHaveLength(press);
  }
  await seconds(clock, 9.5);
  const ratio = (taken() - before) / (10 * RATE);
  expect(ratio).toBeGreaterThan(0.8);
  expect(ratio).toBeLessThan(1.1);
  const each = bulk.map(([, far]) => far.bytesTaken);
  expect(Math.min(...each) / Math.max(...each)).toBeGreaterThan(0.5);
});

test("a stream below the rate is not slower for it", async () => {
  const clock = createFakeClock();
  const { cli, incoming } = pacedChain(clock, 100 * MEBIBYTE);
  const [near, far] = await openStream(cli, incoming);
  far.resume();
  for (let second = 1; second <= 5; second += 1) {
    near.write(Buffer.alloc(MEBIBYTE));
    await seconds(clock, 1);
    expect(far.bytesTaken).toBe(second * MEBIBYTE);
  }
});

test("nothing waits once the streams are over", async () => {
  const clock = createFakeClock();
  const { cli, incoming, forwards } = pacedChain(clock);
  const [near, far] = await openStream(cli, incoming);
  near.write(Buffer.alloc(10 * MEBIBYTE));
  far.resume();
  await seconds(clock, 2);
  const before = clock.pendingTimers;
  near.reset("CC_CANCELLED", "enough");
  await clock.settle();
  await expect(forwards[0]?.done).resolves.toMatchObject({ error: { code: "CC_CANCELLED" } });
  expect(clock.pendingTimers).toBeLessThan(before);
});

test("turns that a stream does not use are given back when it ends", async () => {
  const clock = createFakeClock();
  const { cli, incoming, rate } = pacedChain(clock);
  const [near, far] = await openStream(cli, incoming);
  near.write(Buffer.alloc(3 * MEBIBYTE));
  far.resume();
  await seconds(clock, 1);
  near.reset("CC_CANCELLED", "enough");
  await clock.settle();
  const passed = far.bytesTaken;
  expect(rate.waitMs()).toBeLessThanOrEqual(Math.max(0, (passed / RATE - 2) * 1_000) + 250);
});

test("many short streams get no further than one long one: who begins waits while too much has passed", async () => {
  const clock = createFakeClock();
  const rate = createTokenBucket(RATE, { burstSeconds: 1 }, clock);
  expect(openWaitMs(rate)).toBe(0);
  rate.passed(3 * RATE);
  expect(rate.waitMs()).toBe(2_000);
  expect(openWaitMs(rate)).toBe(1_000);
  await clock.advance(2_000);
  expect(openWaitMs(rate)).toBe(0);
  rate.passed(1_000 * RATE);
  expect(openWaitMs(rate)).toBe(1_000);
});

test("a caller's streams count for the caller and for the cluster, and where nothing is set nothing is looked at", () => {
  const now = (): number => 0;
  const principal = (subject: string): Principal => ({
    issuer: "i",
    subject,
    username: subject,
    groups: [],
    extra: {},
    claims: {},
    expiresAt: new Date(0),
  });
  expect(createRates({}, { now }).of(principal("a"), "prod")).toBeUndefined();
  const limits = { bytesPerSecondPerCaller: 2 * MEBIBYTE, bytesPerSecondPerCluster: MEBIBYTE };
  const rates = createRates(limits, { now });
  rates.of(principal("a"), "prod")?.passed(3 * MEBIBYTE);
  expect(rates.of(principal("a"), "prod")?.waitMs()).toBe(2_000);
  expect(rates.of(principal("a"), "test")?.waitMs()).toBe(500);
  expect(rates.of(principal("b"), "prod")?.waitMs()).toBe(2_000);
  expect(rates.of(principal("b"), "test")?.waitMs()).toBe(0);
});

test("what passes without a turn is made up for by ten seconds at most, and a second's worth may pass at once", () => {
  const now = (): number => 0;
  const limits = { bytesPerSecondPerCaller: MEBIBYTE, bytesPerSecondPerCluster: MEBIBYTE };
  const principal: Principal = {
    issuer: "i",
    subject: "a",
    username: "a",
    groups: [],
    extra: {},
    claims: {},
    expiresAt: new Date(0),
  };
  const rate = createRates(limits, { now }).of(principal, "prod");
  rate?.passed(MEBIBYTE);
  expect(rate?.waitMs()).toBe(0);
  rate?.passed(10 * MEBIBYTE);
  expect(rate?.waitMs()).toBe(10_000);
  rate?.passed(1);
  expect(rate?.waitMs()).toBe(10_000);
});

test("the rates of 10,000 clusters are remembered; with one more the first begins anew", () => {
  const now = (): number => 0;
  const rates = createRates({ bytesPerSecondPerCluster: MEBIBYTE }, { now });
  const principal: Principal = {
    issuer: "i",
    subject: "a",
    username: "a",
    groups: [],
    extra: {},
    claims: {},
    expiresAt: new Date(0),
  };
  for (let cluster = 0; cluster < 10_000; cluster += 1) rates.of(principal, String(cluster))?.passed(2 * MEBIBYTE);
  expect(rates.of(principal, "0")?.waitMs()).toBe(1_000);
  rates.of(principal, "one more");
  expect(rates.of(principal, "0")?.waitMs()).toBe(1_000);
  expect(rates.of(principal, "1")?.waitMs()).toBe(0);
});
