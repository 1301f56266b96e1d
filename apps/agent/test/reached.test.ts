import type { InstanceId } from "@cluster-connect/protocol";
import { createInstanceId } from "@cluster-connect/service";
import { expect, test, vi } from "vitest";
import { createReached } from "../src/reached.ts";

const [A, B] = [createInstanceId(), createInstanceId()];

function setUp() {
  const clock = { now: 0 };
  const reached = createReached({ now: () => clock.now });
  const hold = (relayId: InstanceId): object => {
    const session = {};
    reached.claim(relayId, 2, session);
    reached.opened(session);
    return session;
  };
  const waitFor = (relayId: InstanceId, liveRelays: number): number => {
    try {
      reached.claim(relayId, liveRelays, {});
      return 0;
    } catch (error) {
      expect(error).toMatchObject({ code: "CC_CANCELLED" });
      return error instanceof Error && "retryAfterMs" in error ? Number(error.retryAfterMs) : Number.NaN;
    }
  };
  return { clock, reached, hold, waitFor };
}

test("a relay is claimed once, and another one beside it", () => {
  const { hold, waitFor } = setUp();
  hold(A);
  expect(waitFor(A, 2)).toBeGreaterThan(0);
  expect(waitFor(B, 2)).toBe(0);
});

test("looks follow each other soon while there is a relay without a tunnel, with waits that grow", () => {
  const { hold, waitFor } = setUp();
  hold(A);
  const waits = Array.from({ length: 12 }, () => waitFor(A, 2));
  expect(waits.slice(0, 4)).toEqual([500, 1_000, 2_000, 4_000]);
  expect(waits.at(-1)).toBe(45_000);
});

test("a relay alone is looked at rarely", () => {
  const { hold, waitFor } = setUp();
  hold(A);
  expect(waitFor(A, 1)).toBe(45_000);
});

test("a tunnel that is lost makes the others look at once, and frees its relay", () => {
  const { clock, reached, hold, waitFor } = setUp();
  const look = vi.fn();
  reached.onLost(look, new AbortController().signal);
  const session = hold(A);
  clock.now = 60_000;
  reached.release(session);
  expect(look).toHaveBeenCalledTimes(1);
  expect(waitFor(A, 1)).toBe(0);
});

test("a relay that ends each tunnel at once is not dialed again and again", () => {
  const { reached, hold } = setUp();
  const look = vi.fn();
  reached.onLost(look, new AbortController().signal);
  reached.release(hold(A));
  const refused = {};
  reached.claim(A, 1, refused);
  reached.release(refused);
  expect(look).not.toHaveBeenCalled();
});
