import type { TokenBucket } from "@cluster-connect/base";

/** Counts bytes against a rate. Nothing is refused: bytes beyond the rate wait for the turn that they get. */
export type Rate = Omit<TokenBucket, "take">;

/** The rates that count together for one stream. */
export function jointRate(rates: readonly Rate[]): Rate {
  return {
    perSecond: Math.min(...rates.map((rate) => rate.perSecond)),
    reserve: (bytes) => Math.max(...rates.map((rate) => rate.reserve(bytes))),
    refund(bytes) {
      for (const rate of rates) rate.refund(bytes);
    },
    passed(bytes) {
      for (const rate of rates) rate.passed(bytes);
    },
    waitMs: () => Math.max(...rates.map((rate) => rate.waitMs())),
  };
}
