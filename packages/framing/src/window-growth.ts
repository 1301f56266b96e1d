/**
 * Grows a receive window to what the path needs, by trying: it doubles, and goes on doubling while that makes the
 * stream faster. No round trip has to be known, and a path that is slow for another reason gets no long queue.
 */
export interface WindowGrowth {
  /**
   * Credit is about to be given.
   *
   * @param taken offset up to which the consumer took bytes.
   * @param keepsUp the consumer takes what comes: a larger window would not only hold more.
   * @param maxBytes the window never grows beyond.
   * @returns the window to announce.
   */
  next(taken: number, nowMs: number, keepsUp: boolean, maxBytes: number): number;
}

export interface WindowGrowthOptions {
  readonly initialBytes: number;
  /** Asks for so many more bytes of budget; given back with {@link release}. */
  readonly reserve: (bytes: number) => boolean;
  readonly release: (bytes: number) => void;
}

/** A doubling has helped when the stream is this much faster. */
const GAIN = 1.2;
/** Rounds to wait after a doubling that did not help; doubles with each further one. */
const FIRST_PATIENCE = 8;
const MAX_PATIENCE = 256;

type Phase = "measure" | "settle" | "compare" | "rest";

export function createWindowGrowth(options: WindowGrowthOptions): WindowGrowth {
  let windowBytes = options.initialBytes;
  let phase: Phase = "measure";
  // One round is one window's worth of bytes, which takes a round trip when the window is what limits.
  let roundStart = 0;
  let roundStartedAt: number | undefined;
  let rateBefore = 0;
  let resting = 0;
  let patience = FIRST_PATIENCE;

  function grow(rate: number, maxBytes: number): void {
    const wanted = Math.min(maxBytes, windowBytes * 2);
    if (wanted <= windowBytes || !options.reserve(wanted - windowBytes)) {
      rest();
      return;
    }
    rateBefore = rate;
    windowBytes = wanted;
    phase = "settle";
  }

  function rest(): void {
    phase = "rest";
    resting = patience;
    patience = Math.min(MAX_PATIENCE, patience * 2);
  }

  function endRound(rate: number, keepsUp: boolean, maxBytes: number): void {
    switch (phase) {
      case "measure":
        if (keepsUp) grow(rate, maxBytes);
        return;
      case "settle":
        // The round in which the larger window takes effect tells nothing.
        phase = "compare";
        return;
      case "compare":
        if (keepsUp && rate >= rateBefore * GAIN) {
          patience = FIRST_PATIENCE;
          grow(rate, maxBytes);
          return;
        }
        options.release(windowBytes / 2);
        windowBytes /= 2;
        rest();
        return;
      case "rest":
        resting -= 1;
        if (resting <= 0) phase = "measure";
        return;
    }
  }

  return {
    next(taken, nowMs, keepsUp, maxBytes) {
      if (roundStartedAt === undefined) {
        roundStart = taken;
        roundStartedAt = nowMs;
      } else if (taken - roundStart >= windowBytes) {
        const elapsedMs = Math.max(0.001, nowMs - roundStartedAt);
        endRound((taken - roundStart) / elapsedMs, keepsUp, maxBytes);
        roundStart = taken;
        roundStartedAt = nowMs;
      }
      return windowBytes;
    },
  };
}
