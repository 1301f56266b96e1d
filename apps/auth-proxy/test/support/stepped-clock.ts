import type { Clock } from "@cluster-connect/service";

/** A clock that a test moves; whoever waits goes on when its time has come. */
export interface SteppedClock extends Clock {
  /** Lets this much time pass, then everything that was waiting for it run. */
  pass(ms: number): Promise<void>;
}

export function steppedClock(startAt: number): SteppedClock {
  let now = startAt;
  const waiting = new Set<{ readonly at: number; readonly go: () => void }>();
  return {
    now: () => now,
    wait: (ms, { signal }) =>
      new Promise((resolve, reject) => {
        if (signal.aborted) return reject(signal.reason);
        const entry = { at: now + ms, go: resolve };
        waiting.add(entry);
        signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      }),
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
