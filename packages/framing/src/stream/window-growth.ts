import type { Budget } from "../bytes/budget.ts";

/** Rates are compared with what is this much faster: less may be chance. */
const GAIN = 1.25;
/** A doubling has so many rounds to show that it helps: one slow round on a busy machine tells nothing. */
const TRIES = 3;
/** Rounds to wait after a doubling that did not help; doubles with each further one. */
const FIRST_PATIENCE = 8;
const MAX_PATIENCE = 256;

type Phase = "measure" | "settle" | "compare" | "rest";

/**
 * Grows a receive window to the size that the path needs, by trying. It doubles, and goes on doubling while that makes
 * the stream faster. No round trip has to be known, and a path that is slow for another reason gets no long queue.
 */
export class WindowGrowth {
  #windowBytes: number;
  #bytesBefore = 0;
  #phase: Phase = "measure";
  // One round is one window's worth of bytes, which takes a round trip when the window is what limits.
  #roundStart = 0;
  #roundStartedAt: number | undefined;
  /** Bytes per millisecond of the best round at the window before, and at this one. */
  #rateBefore = 0;
  #rate = 0;
  #left = 0;
  #patience = FIRST_PATIENCE;

  constructor(initialBytes: number) {
    this.#windowBytes = initialBytes;
  }

  /**
   * Credit is about to be given.
   *
   * @param taken offset up to which the consumer took bytes.
   * @param keepsUp the consumer takes what comes: a larger window would not only hold more.
   * @param maxBytes the window never grows beyond.
   * @param budget pays for the window's growth.
   * @returns the window to announce.
   */
  next(taken: number, nowMs: number, keepsUp: boolean, maxBytes: number, budget: Budget): number {
    if (this.#roundStartedAt === undefined) {
      this.#begin(taken, nowMs);
    } else if (taken - this.#roundStart >= this.#roundBytes) {
      const rate = (taken - this.#roundStart) / Math.max(0.001, nowMs - this.#roundStartedAt);
      this.#endRound(rate, keepsUp, maxBytes, budget);
      this.#begin(taken, nowMs);
    }
    return this.#windowBytes;
  }

  /** The larger window takes effect after a round trip: after as many bytes as the smaller one held. */
  get #roundBytes(): number {
    return this.#phase === "settle" ? this.#bytesBefore : this.#windowBytes;
  }

  #begin(taken: number, nowMs: number): void {
    this.#roundStart = taken;
    this.#roundStartedAt = nowMs;
  }

  #endRound(rate: number, keepsUp: boolean, maxBytes: number, budget: Budget): void {
    if (this.#phase === "settle") {
      this.#phase = "compare";
      this.#left = TRIES;
      return;
    }
    this.#rate = Math.max(this.#rate, rate);
    this.#left -= 1;
    switch (this.#phase) {
      case "measure":
        if (keepsUp) this.#grow(maxBytes, budget);
        return;
      case "compare":
        if (keepsUp && this.#rate >= this.#rateBefore * GAIN) {
          this.#patience = FIRST_PATIENCE;
          this.#grow(maxBytes, budget);
        } else if (this.#left <= 0) {
          this.#shrink(budget);
        }
        return;
      case "rest":
        if (this.#left <= 0) this.#phase = "measure";
        return;
    }
  }

  #grow(maxBytes: number, budget: Budget): void {
    const wanted = Math.min(maxBytes, this.#windowBytes * 2);
    if (wanted <= this.#windowBytes || !budget.reserve(wanted - this.#windowBytes)) {
      this.#rest();
      return;
    }
    this.#rateBefore = this.#rate;
    this.#rate = 0;
    this.#bytesBefore = this.#windowBytes;
    this.#windowBytes = wanted;
    this.#phase = "settle";
  }

  #shrink(budget: Budget): void {
    budget.release(this.#windowBytes - this.#bytesBefore);
    this.#windowBytes = this.#bytesBefore;
    this.#rate = 0;
    this.#rest();
  }

  #rest(): void {
    this.#phase = "rest";
    this.#left = this.#patience;
    this.#patience = Math.min(MAX_PATIENCE, this.#patience * 2);
  }
}
