import { expect, test } from "vitest";
import type { Row } from "../src/measure.ts";
import { renderTable } from "../src/table.ts";

const row = (change: Partial<Row>): Row => ({
  question: "ping",
  metric: "p99",
  unit: "ms",
  subject: "ours",
  spread: { median: 1, min: 1, max: 1 },
  ratio: undefined,
  verdict: undefined,
  ...change,
});
const cells = (line: string | undefined): readonly string[] => (line ?? "").split("|").map((cell) => cell.trim());

test("a row has the spread with three digits, the ratio and what was wanted", () => {
  const ratio = { median: 1.236, min: 1, max: 2 };
  const spread = { median: 123.4, min: 12.34, max: 1_234.5 };
  const rows = [row({}), row({ subject: "ssh", spread, ratio, verdict: { target: "≤ 1.5", met: true } })];
  const lines = renderTable(rows).split("\n");
  expect(cells(lines[2]).slice(1, 7)).toEqual(["ping", "p99", "ours", "1.00", "1.00 … 1.00", "ms"]);
  expect(cells(lines[3]).slice(1, -1)).toEqual(["", "", "ssh", "123", "12.3 … 1235", "ms", "1.24", "≤ 1.5", "met"]);
});

test("every line is as wide as the first, so that a terminal shows a table", () => {
  const lines = renderTable([row({}), row({ subject: "a subject with a long name" })]).split("\n");
  expect(new Set(lines.filter((line) => line.startsWith("|")).map((line) => line.length)).size).toBe(1);
});

test("below it stands how many targets were met, and what was missed by how much", () => {
  const missed = { target: "≤ 2", met: false };
  const text = renderTable([
    row({ verdict: { target: "≤ 2", met: true } }),
    row({ subject: "ssh", ratio: { median: 3, min: 2.5, max: 4 }, verdict: missed }),
    row({ question: "idle", metric: "memory", unit: "MiB", spread: { median: 30, min: 20, max: 40 }, verdict: missed }),
  ]);
  expect(text).toContain("1 of 3 targets met; missed:");
  expect(text).toContain("- ping, p99: 3.00 of ssh (2.50 … 4.00), wanted ≤ 2");
  expect(text).toContain("- idle, memory: 30.0 MiB (20.0 … 40.0), wanted ≤ 2");
});

test("nothing is said about targets where there are none", () => {
  expect(renderTable([row({})])).not.toContain("targets");
});
