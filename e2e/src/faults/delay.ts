import { type Clock, SYSTEM_CLOCK } from "@cluster-connect/base";
import type { Fault } from "./fault.ts";
import { OPEN, type Way } from "./link.ts";

/** Bytes that may be under way in one direction. */
const MAX_UNDER_WAY_BYTES = 33_554_432;

/** Everything arrives so much later, in order. A link that was slow once stays so until it ends. */
export function delay(oneWayMs: number, deps: { readonly clock: Clock } = { clock: SYSTEM_CLOCK }): Fault {
  const { clock } = deps;
  return {
    begin(link) {
      const underWay = new Map<Way, number>();
      const add = (way: Way, bytes: number): number => {
        const sum = (underWay.get(way) ?? 0) + bytes;
        underWay.set(way, sum);
        return sum;
      };
      link.passage = {
        bytes(chunk, way) {
          if (add(way, chunk.length) > MAX_UNDER_WAY_BYTES) way.from.pause();
          clock.setTimer(oneWayMs, () => {
            if (add(way, -chunk.length) <= MAX_UNDER_WAY_BYTES) way.from.resume();
            if (!way.to.destroyed) OPEN.bytes(chunk, way);
          });
        },
        end: (way) => void clock.setTimer(oneWayMs, () => OPEN.end(way)),
        reset: (way) => void clock.setTimer(oneWayMs, () => OPEN.reset(way)),
      };
      return () => {};
    },
  };
}
