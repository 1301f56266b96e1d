import { expect, test } from "vitest";
import { type SimulationReport, simulate } from "../src/testing/index.ts";

// A failing seed says its number: SEED=… repeats that one alone. SEEDS=… runs more of them, or fewer.
const only = process.env["SEED"];
const SEEDS = Number(process.env["SEEDS"] ?? 2_000);

test(`what is written is read, in order, once, or both ends learn of the reset: ${only ?? `${SEEDS} seeds`}`, async () => {
  const reports: SimulationReport[] = [];
  const seeds = only === undefined ? Array.from({ length: SEEDS }, (_, index) => index + 1) : [Number(only)];
  for (const seed of seeds) reports.push(await simulate(seed));
  const sum = (key: "finished" | "reset" | "resumes" | "handedToPeers"): number =>
    reports.reduce((total, report) => total + report[key], 0);
  if (only !== undefined) return;
  // The runs must have tested something.
  expect(sum("finished")).toBeGreaterThan(SEEDS);
  expect(sum("resumes")).toBeGreaterThan(SEEDS);
  expect(sum("handedToPeers")).toBeGreaterThan(SEEDS);
  expect(sum("reset")).toBeGreaterThan(0);
});

test("a seed repeats itself to the last byte and millisecond", async () => {
  expect(await simulate(42)).toEqual(await simulate(42));
});
