/** A stream that holds no more than this is not broken off when a budget is exceeded. */
export const FAIR_BYTES = 65_536;

/** Bytes that several holders share; a budget may be part of a larger one. */
export interface Budget {
  readonly usedBytes: number;
  readonly limitBytes: number;
  /** Bytes that are left, here and in the larger budget; negative when more is held than there should be. */
  readonly restBytes: number;
  /** Takes so many bytes when they are there, here and in the larger budget. */
  reserve(bytes: number): boolean;
  /** Takes so many bytes in any case: they are held already. */
  hold(bytes: number): void;
  release(bytes: number): void;
  /** More is held than there should be. */
  readonly exceeded: boolean;
}

export function createBudget(limitBytes: number, parent?: Budget): Budget {
  let usedBytes = 0;
  return {
    limitBytes,
    get usedBytes() {
      return usedBytes;
    },
    get restBytes() {
      return Math.min(limitBytes - usedBytes, parent?.restBytes ?? Number.POSITIVE_INFINITY);
    },
    reserve(bytes) {
      if (usedBytes + bytes > limitBytes || parent?.reserve(bytes) === false) return false;
      usedBytes += bytes;
      return true;
    },
    hold(bytes) {
      usedBytes += bytes;
      parent?.hold(bytes);
    },
    release(bytes) {
      usedBytes -= bytes;
      parent?.release(bytes);
    },
    get exceeded() {
      return usedBytes > limitBytes || parent?.exceeded === true;
    },
  };
}
