import type { InstanceId } from "@cluster-connect/protocol";
import { createInstanceId } from "@cluster-connect/service";
import { expect, test, vi } from "vitest";
import { createRelaySpread } from "../../src/tunnels/relay-spread.ts";

const [A, B] = [createInstanceId(), createInstanceId()];

function setUp() {
  const clock = { now: 0 };
  const onUnspread = vi.fn();
  const relaySpread = createRelaySpread({ now: () => clock.now, spread: (poll) => poll(), onUnspread });
  const hold = (relayId: InstanceId, liveRelays = 2): object => {
    const session = {};
    expect(relaySpread.claim(relayId, liveRelays, session)).toBe(true);
    relaySpread.opened(session);
    return session;
  };
  /** Looks until it is told to wait. @returns how many spares it kept and how long it waits. */
  const poll = (): { readonly spares: number; readonly waitMs: number } => {
    for (let spares = 1; ; spares += 1) {
      try {
        relaySpread.missed(spares);
      } catch (error) {
        expect(error).toMatchObject({ code: "CC_CANCELLED" });
        const waitMs = error instanceof Error && "retryAfterMs" in error ? Number(error.retryAfterMs) : Number.NaN;
        return { spares, waitMs };
      }
    }
  };
  return { clock, relaySpread, hold, poll, onUnspread };
}

test("a relay is claimed once, and another one beside it", () => {
  const { relaySpread, hold } = setUp();
  hold(A);
  expect(relaySpread.claim(A, 2, {})).toBe(false);
  expect(relaySpread.claim(B, 2, {})).toBe(true);
});

test("while there is a relay without a tunnel, looks keep more channels open each time and wait longer, up to a bound", () => {
  const { hold, poll, onUnspread } = setUp();
  hold(A);
  const polls = Array.from({ length: 8 }, () => poll());
  expect(polls.map(({ spares }) => spares)).toEqual([2, 4, 8, 16, 32, 32, 1, 1]);
  expect(polls.map(({ waitMs }) => waitMs)).toEqual([500, 1_000, 2_000, 4_000, 8_000, 16_000, 45_000, 45_000]);
  expect(onUnspread).toHaveBeenCalledExactlyOnceWith(2);
});

test("a relay alone is looked at rarely, and nothing is wrong with it", () => {
  const { hold, poll, onUnspread } = setUp();
  hold(A, 1);
  const polls = Array.from({ length: 10 }, () => poll());
  expect(new Set(polls.map(({ spares, waitMs }) => `${spares} ${waitMs}`))).toEqual(new Set(["1 45000"]));
  expect(onUnspread).not.toHaveBeenCalled();
});

test("a tunnel that is lost makes the others look at once, and frees its relay", () => {
  const { clock, relaySpread, hold } = setUp();
  const looked = vi.fn();
  relaySpread.onPoll(looked, new AbortController().signal);
  const session = hold(A);
  clock.now = 60_000;
  relaySpread.release(session);
  expect(looked).toHaveBeenCalledTimes(1);
  expect(relaySpread.claim(A, 1, {})).toBe(true);
});

test("a relay that comes makes those look who have no tunnel to it, and one that goes nobody", () => {
  const { relaySpread, hold, poll } = setUp();
  const looked = vi.fn();
  relaySpread.onPoll(looked, new AbortController().signal);
  hold(A, 1);
  relaySpread.live(1);
  expect(looked).not.toHaveBeenCalled();
  relaySpread.live(2);
  expect(looked).toHaveBeenCalledTimes(1);
  expect(poll()).toEqual({ spares: 2, waitMs: 500 });
  hold(B);
  relaySpread.live(1);
  relaySpread.live(2);
  expect(looked).toHaveBeenCalledTimes(1);
});

test("a relay that ends each tunnel at once is not dialed again and again", () => {
  const { relaySpread, hold } = setUp();
  const looked = vi.fn();
  relaySpread.onPoll(looked, new AbortController().signal);
  relaySpread.release(hold(A));
  const refused = {};
  relaySpread.claim(A, 1, refused);
  relaySpread.release(refused);
  expect(looked).not.toHaveBeenCalled();
});
