import type { Fault } from "./fault.ts";
import type { Passage } from "./link.ts";

const NOTHING: Passage = { bytes: () => {}, end: () => {}, reset: () => {} };

/** Takes everything and drops it, also the end: at TCP level both sides are answered. When it is over, links are reset. */
export const HALF_OPEN: Fault = {
  begin(link) {
    link.passage = NOTHING;
    return () => link.reset();
  },
};
