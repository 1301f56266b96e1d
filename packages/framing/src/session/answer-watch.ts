import type { Clock, Timer } from "@cluster-connect/base";
import type { StreamId } from "@cluster-connect/protocol";

/** An OPEN or RESUME that is not answered so soon makes the channel suspicious. */
const ANSWER_MS = 700;

/** Watches the answers to the streams that this side begins. */
export interface AnswerWatch {
  asked(id: StreamId): void;
  answered(id: StreamId): void;
  cancel(): void;
}

/** @param deps `late` is called once for those that are late together. */
export function createAnswerWatch(deps: { readonly clock: Clock; readonly late: () => void }): AnswerWatch {
  const { clock } = deps;
  // When each was asked, the oldest first.
  const waiting = new Map<StreamId, number>();
  let timer: Timer | undefined;

  function schedule(): void {
    for (const askedAt of waiting.values()) {
      timer = clock.setTimer(Math.max(0, askedAt + ANSWER_MS - clock.monotonicNow()), check);
      return;
    }
  }

  function check(): void {
    timer = undefined;
    let someAreLate = false;
    for (const [id, askedAt] of waiting) {
      if (clock.monotonicNow() - askedAt < ANSWER_MS) break;
      waiting.delete(id);
      someAreLate = true;
    }
    if (someAreLate) deps.late();
    schedule();
  }

  return {
    asked(id) {
      waiting.set(id, clock.monotonicNow());
      if (timer === undefined) schedule();
    },
    answered(id) {
      waiting.delete(id);
      if (waiting.size > 0 || timer === undefined) return;
      timer.cancel();
      timer = undefined;
    },
    cancel() {
      waiting.clear();
      timer?.cancel();
      timer = undefined;
    },
  };
}
