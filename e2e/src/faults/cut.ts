import type { Fault } from "./fault.ts";

/** Resets every link, so that both sides know at once. */
export const CUT: Fault = {
  begin(link) {
    link.reset();
    return () => {};
  },
};
