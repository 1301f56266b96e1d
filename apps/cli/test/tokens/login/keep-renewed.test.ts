import { createFakeClock, type FakeClock } from "@cluster-connect/framing/testing";
import { ConnectError, type ErrorCode, parseClusterId } from "@cluster-connect/protocol";
import { expect, onTestFinished, test } from "vitest";
import type { CallerTokens, Purpose } from "../../../src/tokens/caller-tokens.ts";
import { keepRenewed } from "../../../src/tokens/login/keep-renewed.ts";
import { dueAt } from "../../../src/tokens/stored-token.ts";

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
  return {
    clock,
    asked,
    state,
    done: keepRenewed(tokens, { signal: end.signal, clusters: [parseClusterId("prod")] }, deps),
  };
}

test("tokens are renewed after half of their life, over and over", async () => {
  const { clock, asked } = stage();
  await clock.advance(3 * LIFE_MS);
  expect(asked.length).toBeGreaterThanOrEqual(7);
  for (const [at, time] of asked.slice(1).entries()) {
    const age = time - (asked[at] ?? 0);
    expect(age).toBeGreaterThanOrEqual(LIFE_MS * 0.4);
    expect(age).toBeLessThanOrEqual(LIFE_MS / 2);
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
  await found.clock.advance(LIFE_MS / 3);
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

/** Counts what a source of tokens that live for so long is asked during a time. */
async function askedWithin(lifeMs: number, ms: number): Promise<{ readonly asked: number; readonly renewed: number }> {
  const clock = createFakeClock();
  const end = new AbortController();
  onTestFinished(() => end.abort());
  let kept = { token: "first", expiresAt: new Date(clock.now() + lifeMs), obtainedAt: new Date(clock.now()) };
  const found = { asked: 0, renewed: 0 };
  const tokens: CallerTokens = {
    async token(purpose) {
      if (purpose !== "relay") return { token: "another's", expiresAt: undefined };
      found.asked++;
      const now = clock.now();
      if (now < dueAt(kept.expiresAt, kept.obtainedAt).getTime()) return kept;
      found.renewed++;
      kept = { token: `at ${now}`, expiresAt: new Date(now + lifeMs), obtainedAt: new Date(now) };
      return kept;
    },
  };
  void keepRenewed(tokens, { signal: end.signal, clusters: [] }, { clock, now: clock.now, random: () => 0.5 });
  await clock.advance(ms);
  return found;
}

test("a token that lives for months is looked at every hour, for no timer of the system lasts that long", async () => {
  const days = 86_400_000;
  const found = await askedWithin(60 * days, 2 * days);
  expect(found).toEqual({ asked: 49, renewed: 0 });
});

test("tokens that live for a second are renewed every five seconds, not twice a second", async () => {
  const found = await askedWithin(1_000, 60_000);
  expect(found.renewed).toBe(12);
});
