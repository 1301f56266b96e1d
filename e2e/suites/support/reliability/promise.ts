import { appendFile } from "node:fs/promises";
import { expect } from "vitest";

/** Suites run on machines that do much else; the bench asks for the promise itself. */
const FACTOR = process.env["RELIABILITY_EXACT"] === "1" ? 1 : 3;
const REPORT = process.env["RELIABILITY_REPORT"];

/**
 * Compares a measured time with what docs/reliability.md promises, and notes it for the table of the bench.
 *
 * @param scene as the table names it.
 */
export async function expectWithin(scene: string, promisedMs: number, measuredMs: number): Promise<void> {
  process.stderr.write(`${scene}: ${Math.round(measuredMs)} ms, ${promisedMs} ms are promised\n`);
  if (REPORT !== undefined) await appendFile(REPORT, `${JSON.stringify({ scene, promisedMs, measuredMs })}\n`);
  expect(measuredMs, scene).toBeLessThanOrEqual(FACTOR * promisedMs);
}
