import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { RawLink } from "../../../src/faults/raw-link.ts";
import { answers } from "../transport.ts";
import { openEchoes } from "./streams.ts";

const SAID_BYTES = 16;
const EVERY_MS = 5;

/** Says something to an echo all the time, and keeps the longest time that an answer took. */
export async function startPulse(link: RawLink): Promise<{ stop(): Promise<{ readonly longestMs: number }> }> {
  const [stream] = await openEchoes(link, 1);
  if (stream === undefined) throw new Error("no stream is open");
  let stopped = false;
  let longestMs = 0;
  const beating = (async () => {
    while (!stopped) {
      const from = performance.now();
      await answers(stream, randomBytes(SAID_BYTES));
      longestMs = Math.max(longestMs, performance.now() - from);
      await delay(EVERY_MS);
    }
  })();
  return {
    async stop() {
      stopped = true;
      await beating;
      return { longestMs };
    },
  };
}
