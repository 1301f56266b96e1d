import { callerName } from "@cluster-connect/framing";
import { createFakeClock } from "@cluster-connect/framing/testing";
import { expect, test } from "vitest";
import { createHeldShares } from "../../src/streams/held-shares.ts";

const [ann, bob, eve] = ["ann", "bob", "eve"].map((subject) => ({
  issuer: "https://issuer.test",
  subject,
  username: subject,
}));

function scene(held: Readonly<Record<string, number>>) {
  const clock = createFakeClock();
  const buffers = { usedBytes: 0 };
  const now = { ...held };
  let counts = 0;
  const heldByCaller = () => {
    counts += 1;
    return new Map([ann, bob].map((caller) => [callerName(caller), now[caller?.subject ?? ""] ?? 0]));
  };
  const shares = createHeldShares(1_000, { buffers, resumes: { heldByCaller }, clock });
  return { clock, buffers, now, shares, counts: () => counts };
}

test("nobody is refused, and nothing is counted, as long as a byte is left", () => {
  const { buffers, shares, counts } = scene({ ann: 999 });
  buffers.usedBytes = 999;
  expect(shares.isFullFor(ann)).toBe(false);
  expect(counts()).toBe(0);
});

test("while all is in use, the caller whose paused readers hold it is refused, and no other one", () => {
  const { buffers, shares } = scene({ ann: 900, bob: 100 });
  buffers.usedBytes = 1_000;
  expect([ann, bob, eve].map((caller) => shares.isFullFor(caller))).toEqual([true, false, false]);
});

test("callers that hold as much as each other are all refused, one that holds a byte less is not", () => {
  const { buffers, shares, now, clock } = scene({ ann: 500, bob: 500 });
  buffers.usedBytes = 1_000;
  expect([ann, bob].map((caller) => shares.isFullFor(caller))).toEqual([true, true]);
  now["bob"] = 499;
  return clock.advance(1_000).then(() => {
    expect([ann, bob].map((caller) => shares.isFullFor(caller))).toEqual([true, false]);
  });
});

test("streams are counted once a second at most", async () => {
  const { buffers, shares, clock, counts } = scene({ ann: 1_000 });
  buffers.usedBytes = 1_000;
  for (let time = 0; time < 100; time += 1) shares.isFullFor(ann);
  await clock.advance(999);
  shares.isFullFor(ann);
  expect(counts()).toBe(1);
  await clock.advance(1);
  shares.isFullFor(ann);
  expect(counts()).toBe(2);
});
