import type { Clock } from "@cluster-connect/base";

/** A clock that a test moves; a waiter goes on when its time has come. */
export interface SteppedClock extends Clock {
  /** Lets this much time pass, then everything that was waiting for it run. */
  pass(ms: number): Promise<void>;
}

export function steppedClock(startAt: number): SteppedClock {
  let now = startAt;
  const waiting = new Set<{ readonly at: number; readonly go: () => void }>();
  return {
    now: () => now,
    monotonicNow: () => now,
    setTimer(delayMs, fire) {
      const entry = { at: now + delayMs, go: fire };
      waiting.add(entry);
      return { cancel: () => void waiting.delete(entry) };
    },
    async pass(ms) {
      now += ms;
      for (const entry of [...waiting]) {
        if (entry.at > now) continue;
        waiting.delete(entry);
        entry.go();
      }
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
}
