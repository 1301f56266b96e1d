import { expect } from "vitest";
import type { RunResult } from "../../../src/process/run-to-end.ts";

/** How requests fared while something happened. */
export interface Asked {
  readonly asked: number;
  /** How long there was no answer at the longest, milliseconds. */
  readonly longestMs: number;
  /** The words that came instead of an answer, each once. */
  readonly failures: ReadonlySet<string>;
}

/** Asks again and again until `work` is done; the last one to ask gets its answer. */
export async function askMeanwhile(ask: () => Promise<RunResult>, work: () => Promise<void>): Promise<Asked> {
  let done = false;
  const finished = work().finally(() => {
    done = true;
  });
  finished.catch(() => {}); // it is thrown below
  let [asked, longestMs, failingSince] = [0, 0, 0];
  const failures = new Set<string>();
  while (!done || failingSince > 0) {
    const from = performance.now();
    const answer = await ask();
    asked += 1;
    if (answer.code !== 0) failures.add(answer.stderr.trim());
    if (answer.code !== 0 && done) break;
    if (answer.code === 0 && failingSince > 0) longestMs = Math.max(longestMs, performance.now() - failingSince);
    if (answer.code === 0) failingSince = 0;
    else if (failingSince === 0) failingSince = from;
  }
  await finished;
  expect(failingSince === 0 ? [] : [...failures]).toEqual([]);
  return { asked, longestMs: Math.round(longestMs), failures };
}
