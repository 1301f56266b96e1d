import type { Row, Spread } from "./measure.ts";

const COLUMNS = ["question", "metric", "subject", "median", "min … max", "unit", "ours ÷ it", "target", ""] as const;
const RIGHT: ReadonlySet<string> = new Set(["median", "ours ÷ it", "target"]);

/** The rows as a Markdown table, which a terminal shows as well, and below it what was missed. */
export function renderTable(rows: readonly Row[]): string {
  const cells = rows.map((row, index) => cellsOf(row, rows[index - 1]));
  const widths = COLUMNS.map((name, column) =>
    Math.max(name.length, ...cells.map((line) => line[column]?.length ?? 0), 3),
  );
  const line = (texts: readonly string[]): string =>
    `| ${texts.map((text, column) => pad(text, widths[column] ?? 0, COLUMNS[column] ?? "")).join(" | ")} |`;
  const rule = widths.map((width, column) =>
    RIGHT.has(COLUMNS[column] ?? "") ? `${"-".repeat(width - 1)}:` : "-".repeat(width),
  );
  return [line(COLUMNS), line(rule), ...cells.map(line), "", ...summary(rows)].join("\n");
}

function cellsOf(row: Row, before: Row | undefined): readonly string[] {
  const { question, metric, subject, spread, unit, ratio, verdict } = row;
  const sameQuestion = before?.question === question;
  return [
    sameQuestion ? "" : question,
    sameQuestion && before.metric === metric ? "" : metric,
    subject,
    short(spread.median),
    range(spread),
    unit,
    ratio === undefined ? "" : `${ratio.median.toFixed(2)}`,
    verdict?.target ?? "",
    verdict === undefined ? "" : verdict.met ? "met" : "missed",
  ];
}

function summary(rows: readonly Row[]): readonly string[] {
  const judged = rows.filter((row) => row.verdict !== undefined);
  const missed = judged.filter((row) => row.verdict?.met === false);
  if (judged.length === 0) return [];
  return [
    `${judged.length - missed.length} of ${judged.length} targets met${missed.length === 0 ? "." : "; missed:"}`,
    ...missed.map(({ question, metric, subject, ratio, spread, unit, verdict }) => {
      const value =
        ratio === undefined ? `${short(spread.median)} ${unit}` : `${ratio.median.toFixed(2)} of ${subject}`;
      const within = ratio === undefined ? range(spread) : range(ratio);
      return `- ${question}, ${metric}: ${value} (${within}), wanted ${verdict?.target}`;
    }),
  ];
}

function pad(text: string, width: number, column: string): string {
  return RIGHT.has(column) ? text.padStart(width) : text.padEnd(width);
}

function range({ min, max }: Spread): string {
  return `${short(min)} … ${short(max)}`;
}

/** Three digits that say something. */
function short(value: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toFixed(digits);
}
