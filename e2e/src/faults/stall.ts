import type { Fault } from "./fault.ts";

/** Accepts and forwards nothing; when it is over, everything arrives late and nothing is missing. */
export const STALL: Fault = {
  begin(link) {
    link.stall();
    return () => link.flow();
  },
};
