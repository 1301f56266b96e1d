import { createFakeClock, type FakeClock } from "@cluster-connect/framing/testing";
import { ConnectError, type ErrorCode } from "@cluster-connect/protocol";
import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import type { CallerTokens, Purpose } from "../../src/tokens/caller-tokens.ts";
import { keepRenewed } from "../../src/tokens/keep-renewed.ts";
import { dueAt, renewAt } from "../../src/tokens/stored-token.ts";

const LIFE_MS = 600_000;

interface Stage {
  readonly clock: FakeClock;
  /** When the issuer was asked for the relay's token, milliseconds from the start. */
  readonly asked: number[];
  readonly state: { failure: ErrorCode | undefined };
  readonly done: Promise<void>;
}

/** Tokens of ten minutes from an issuer that can fail; an old token serves until its end. */
function stage(): Stage {
  const clock = createFakeClock();
  const end = new AbortController();
  onTestFinished(() => end.abort());
  const asked: number[] = [];
  const state: { failure: ErrorCode | undefined } = { failure: undefined };
  const kept = new Map<Purpose, { token: string; expiresAt: Date; obtainedAt: Date }>();
  const tokens: CallerTokens = {
    async token(purpose) {
      const old = kept.get(purpose);
      const now = clock.now();
      if (old !== undefined && now < dueAt(old.expiresAt, old.obtainedAt).getTime()) return old;
      if (purpose === "relay") asked.push(now);
      if (state.failure !== undefined) {
        if (old !== undefined && old.expiresAt.getTime() > now) return old;
        throw new ConnectError(state.failure, "the issuer fails");
      }
      const next = { token: `${purpose} ${now}`, expiresAt: new Date(now + LIFE_MS), obtainedAt: new Date(now) };
      kept.set(purpose, next);
      return next;
    },
  };
  const deps = { clock, now: clock.now, random: () => 0.5 };
  return { clock, asked, state, done: keepRenewed(tokens, { signal: end.signal }, deps) };
}

test("tokens are renewed a little before their end, over and over", async () => {
  const { clock, asked } = stage();
  await clock.advance(3 * LIFE_MS);
  expect(asked).toHaveLength(4);
  for (const [at, time] of asked.slice(1).entries()) {
    const age = time - (asked[at] ?? 0);
    expect(age).toBeGreaterThanOrEqual(LIFE_MS - 90_000);
    expect(age).toBeLessThanOrEqual(LIFE_MS - 60_000);
  }
});

test("while the issuer fails it is asked again, slower and slower, and the renewal comes when it is back", async () => {
  const found = stage();
  await found.clock.advance(LIFE_MS - 100_000);
  found.state.failure = "CC_ISSUER_UNREACHABLE";
  await found.clock.advance(200_000);
  const attempts = found.asked.length;
  expect(attempts).toBeGreaterThan(8);
  expect(attempts).toBeLessThan(40);
  found.state.failure = undefined;
  await found.clock.advance(30_000);
  expect(found.asked.length).toBe(attempts + 1);
  await found.clock.advance(LIFE_MS / 2);
  expect(found.asked.length).toBe(attempts + 1);
});

test("a login that ran out is not asked for again: only the person can go on", async () => {
  const found = stage();
  await found.clock.settle();
  found.state.failure = "CC_NOT_LOGGED_IN";
  await found.clock.advance(2 * LIFE_MS);
  await found.done;
  expect(found.clock.pendingTimers).toBe(0);
});

test("a token is due before kubectl asks again, and never in the first part of its life", () => {
  const time = fc.integer({ min: 1, max: 4_000_000_000_000 });
  fc.assert(
    fc.property(time, fc.integer({ min: 1, max: 90_000_000 }), (obtained, lifeMs) => {
      const [expiresAt, obtainedAt] = [new Date(obtained + lifeMs), new Date(obtained)];
      const due = dueAt(expiresAt, obtainedAt).getTime();
      expect(due).toBeLessThanOrEqual(renewAt(expiresAt, obtained).getTime());
      expect(due - obtained).toBeGreaterThanOrEqual(Math.floor(lifeMs * 0.85) - 1);
    }),
  );
});
