import type { InstanceId } from "@cluster-connect/protocol";
import { createInstanceId } from "@cluster-connect/service";
import { expect, test, vi } from "vitest";
import { createReached } from "../src/reached.ts";

const [A, B] = [createInstanceId(), createInstanceId()];

function setUp() {
  const clock = { now: 0 };
  const onUnspread = vi.fn();
  const reached = createReached({ now: () => clock.now, spread: (look) => look(), onUnspread });
  const hold = (relayId: InstanceId, liveRelays = 2): object => {
    const session = {};
    expect(reached.claim(relayId, liveRelays, session)).toBe(true);
    reached.opened(session);
    return session;
  };
  /** Looks until it is told to wait. @returns how many spares it kept and how long it waits. */
  const look = (): { readonly spares: number; readonly waitMs: number } => {
    for (let spares = 1; ; spares += 1) {
      try {
        reached.missed(spares);
      } catch (error) {
        expect(error).toMatchObject({ code: "CC_CANCELLED" });
        const waitMs = error instanceof Error && "retryAfterMs" in error ? Number(error.retryAfterMs) : Number.NaN;
        return { spares, waitMs };
      }
    }
  };
  return { clock, reached, hold, look, onUnspread };
}

test("a relay is claimed once, and another one beside it", () => {
  const { reached, hold } = setUp();
  hold(A);
  expect(reached.claim(A, 2, {})).toBe(false);
  expect(reached.claim(B, 2, {})).toBe(true);
});

test("while there is a relay without a tunnel, looks keep more channels open each time and wait longer, up to a bound", () => {
  const { hold, look, onUnspread } = setUp();
  hold(A);
  const looks = Array.from({ length: 8 }, () => look());
  expect(looks.map(({ spares }) => spares)).toEqual([2, 4, 8, 16, 32, 32, 1, 1]);
  expect(looks.map(({ waitMs }) => waitMs)).toEqual([500, 1_000, 2_000, 4_000, 8_000, 16_000, 45_000, 45_000]);
  expect(onUnspread).toHaveBeenCalledExactlyOnceWith(2);
});

test("a relay alone is looked at rarely, and nothing is wrong with it", () => {
  const { hold, look, onUnspread } = setUp();
  hold(A, 1);
  const looks = Array.from({ length: 10 }, () => look());
  expect(new Set(looks.map(({ spares, waitMs }) => `${spares} ${waitMs}`))).toEqual(new Set(["1 45000"]));
  expect(onUnspread).not.toHaveBeenCalled();
});

test("a tunnel that is lost makes the others look at once, and frees its relay", () => {
  const { clock, reached, hold } = setUp();
  const looked = vi.fn();
  reached.onLook(looked, new AbortController().signal);
  const session = hold(A);
  clock.now = 60_000;
  reached.release(session);
  expect(looked).toHaveBeenCalledTimes(1);
  expect(reached.claim(A, 1, {})).toBe(true);
});

test("a relay that comes makes those look who have no tunnel to it, and one that goes nobody", () => {
  const { reached, hold, look } = setUp();
  const looked = vi.fn();
  reached.onLook(looked, new AbortController().signal);
  hold(A, 1);
  reached.live(1);
  expect(looked).not.toHaveBeenCalled();
  reached.live(2);
  expect(looked).toHaveBeenCalledTimes(1);
  expect(look()).toEqual({ spares: 2, waitMs: 500 });
  hold(B);
  reached.live(1);
  reached.live(2);
  expect(looked).toHaveBeenCalledTimes(1);
});

test("a relay that ends each tunnel at once is not dialed again and again", () => {
  const { reached, hold } = setUp();
  const looked = vi.fn();
  reached.onLook(looked, new AbortController().signal);
  reached.release(hold(A));
  const refused = {};
  reached.claim(A, 1, refused);
  reached.release(refused);
  expect(looked).not.toHaveBeenCalled();
});
