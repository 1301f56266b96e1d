import { appendFile } from "node:fs/promises";
import { expect } from "vitest";

/** Suites run on machines that do much else, which costs each process a moment now and then; the bench asks for the promise itself. */
const BUSY = process.env["RELIABILITY_EXACT"] === "1" ? { factor: 1, addedMs: 0 } : { factor: 3, addedMs: 1_000 };
const REPORT = process.env["RELIABILITY_REPORT"];

/**
 * Compares a measured time with what docs/reliability.md promises, and notes it for the table of the bench.
 *
 * @param scene as the table names it.
 */
export async function expectWithin(scene: string, promisedMs: number, measuredMs: number): Promise<void> {
  process.stderr.write(`${scene}: ${Math.round(measuredMs)} ms, ${promisedMs} ms are promised\n`);
  if (REPORT !== undefined) await appendFile(REPORT, `${JSON.stringify({ scene, promisedMs, measuredMs })}\n`);
  expect(measuredMs, scene).toBeLessThanOrEqual(BUSY.factor * promisedMs + BUSY.addedMs);
}
