import type { Clock } from "@cluster-connect/base";

/** A clock that stands still until it is told to go on. */
export interface FakeClock extends Clock {
  /** Timers that are set and did not fire: a leak when nothing should wait any more. */
  readonly pendingTimers: number;
  /**
   * Goes on by so much, firing timers in order; their effects settle before the next one fires.
   *
   * @throws Error when so many timers fire that they must be setting off each other.
   */
  advance(ms: number): Promise<void>;
  /** Lets everything that needs no time happen. */
  settle(): Promise<void>;
}

interface FakeTimer {
  readonly dueAt: number;
  readonly order: number;
  readonly fire: () => void;
}

/** Turns of the event loop after which promises, ticks and immediates have had their say. */
const SETTLE_TURNS = 4;
const MAX_TIMERS_AT_ONCE = 300_000;

export function createFakeClock(): FakeClock {
  let now = 0;
  let order = 0;
  const timers = new Set<FakeTimer>();

  async function settle(): Promise<void> {
    for (let turn = 0; turn < SETTLE_TURNS; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  }

  function nextDue(until: number): FakeTimer | undefined {
    let found: FakeTimer | undefined;
    for (const timer of timers) {
      if (timer.dueAt > until) continue;
      if (
        found === undefined ||
        timer.dueAt < found.dueAt ||
        (timer.dueAt === found.dueAt && timer.order < found.order)
      ) {
        found = timer;
      }
    }
    return found;
  }

  return {
    now: () => now,
    monotonicNow: () => now,
    get pendingTimers() {
      return timers.size;
    },
    setTimer(delayMs, fire) {
      const timer: FakeTimer = { dueAt: now + Math.max(0, delayMs), order, fire };
      order += 1;
      timers.add(timer);
      return {
        cancel() {
          timers.delete(timer);
        },
      };
    },
    settle,
    async advance(ms) {
      const until = now + ms;
      let fired = 0;
      await settle();
      for (let timer = nextDue(until); timer !== undefined; timer = nextDue(until)) {
        timers.delete(timer);
        now = Math.max(now, timer.dueAt);
        timer.fire();
        fired += 1;
        if (fired > MAX_TIMERS_AT_ONCE) throw new Error(`${fired} timers fired, and it is not later than ${now} ms`);
        await settle();
      }
      now = until;
    },
  };
}
