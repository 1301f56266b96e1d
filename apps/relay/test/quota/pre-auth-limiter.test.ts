import { ConnectError } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import { createPreAuthLimiter } from "../../src/quota/pre-auth-limiter.ts";

const quiet = (): void => undefined;

function refusal(task: () => unknown): ConnectError {
  try {
    task();
  } catch (error) {
    if (error instanceof ConnectError) return error;
  }
  throw new Error("not refused");
}

function stage(limits: { readonly all: number; readonly perAddress: number }) {
  const limiter = createPreAuthLimiter(limits);
  const ended: string[] = [];
  return { limiter, ended, take: (address: string, name: string) => limiter.take(address, () => ended.push(name)) };
}

test("an address has as many as one may, and not one more; the refusal says when to come again", () => {
  const { limiter, take, ended } = stage({ all: 10, perAddress: 2 });
  take("a", "1");
  take("a", "2");
  expect(refusal(() => take("a", "3"))).toMatchObject({
    code: "CC_LIMIT_REACHED",
    message: "At most 2 channels from one address that have not proved anything",
    retryAfterMs: 1_000,
  });
  expect(limiter.size).toBe(2);
  expect(ended).toEqual([]);
});

test("all addresses have as many as there may be, and the next ends nothing while none has more than it", () => {
  const { limiter, take, ended } = stage({ all: 2, perAddress: 2 });
  take("a", "1");
  take("b", "2");
  expect(refusal(() => take("a", "3"))).toMatchObject({
    code: "CC_LIMIT_REACHED",
    message: "At most 2 channels that have not proved anything",
    retryAfterMs: 1_000,
  });
  expect(ended).toEqual([]);
  expect(limiter.size).toBe(2);
});

test.each([
  ["first", ["a", "a", "a", "b", "b"]],
  ["last", ["b", "b", "a", "a", "a"]],
])("room is made by the oldest of the address with the most, be it the %s to come", (_, addresses) => {
  const { limiter, take, ended } = stage({ all: 5, perAddress: 5 });
  addresses.forEach((address, at) => {
    take(address, `${address}${at}`);
  });
  take("c", "c");
  expect(ended).toEqual([addresses[0] === "a" ? "a0" : "a2"]);
  expect(limiter.size).toBe(5);
});

test("an address that is full is refused before anything is ended for it", () => {
  const { take, ended } = stage({ all: 3, perAddress: 1 });
  take("a", "1");
  expect(refusal(() => take("a", "2")).message).toContain("from one address");
  expect(ended).toEqual([]);
});

test("a proxy's address may have all, and gives way to another address like any", () => {
  const { limiter, take, ended } = stage({ all: 3, perAddress: 1 });
  for (let n = 0; n < 3; n += 1) limiter.take("proxy", () => ended.push(`proxy ${n}`), { isProxy: true });
  expect(refusal(() => limiter.take("proxy", quiet, { isProxy: true })).message).toContain("At most 3 channels that");
  take("a", "a");
  expect(ended).toEqual(["proxy 0"]);
});

test("a place is free again once, be it released twice, or ended and then released, and an address without any is forgotten", () => {
  const { limiter, take } = stage({ all: 2, perAddress: 2 });
  const release = take("a", "1");
  const other = take("a", "2");
  take("b", "3");
  expect(limiter.size).toBe(2);
  // The first was ended for the third.
  release();
  expect(limiter.size).toBe(2);
  expect(limiter.addresses).toBe(2);
  other();
  other();
  expect(limiter.size).toBe(1);
  expect(limiter.addresses).toBe(1);
});
