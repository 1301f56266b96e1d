import type { TextOutput } from "../deps.ts";
import { printable } from "./printable.ts";

/** How a list is written to standard output. */
export type OutputFormat = "table" | "json" | "yaml" | "name";
export const OUTPUT_FORMATS: readonly OutputFormat[] = ["table", "json", "yaml", "name"];

/** A list that people and scripts read. */
export interface Listing<T> {
  /** Key of the list in JSON and YAML. */
  readonly key: string;
  readonly items: readonly T[];
  readonly nameOf: (item: T) => string;
  readonly columns: readonly { readonly title: string; readonly text: (item: T) => string }[];
  /** Said instead of an empty table. */
  readonly none: string;
}

/** Writes a list; tables and names are for people, JSON and YAML keep every field. */
export async function writeListing<T>(
  listing: Listing<T>,
  format: OutputFormat,
  outputs: { readonly stdout: TextOutput; readonly stderr: TextOutput },
): Promise<void> {
  const { items, key } = listing;
  switch (format) {
    case "json":
      outputs.stdout.write(`${JSON.stringify({ [key]: items }, undefined, 2)}\n`);
      return;
    case "yaml": {
      const { toYaml } = await import("./to-yaml.ts");
      // By way of JSON, so that both formats have the same fields.
      outputs.stdout.write(toYaml(JSON.parse(JSON.stringify({ [key]: items }))));
      return;
    }
    case "name":
      for (const item of items) outputs.stdout.write(`${printable(listing.nameOf(item))}\n`);
      return;
    case "table":
      if (items.length === 0) outputs.stderr.write(`${listing.none}\n`);
      else outputs.stdout.write(formatTable(listing));
  }
}

function formatTable<T>({ columns, items }: Listing<T>): string {
  const rows = [
    columns.map(({ title }) => title),
    ...items.map((item) => columns.map(({ text }) => printable(text(item)))),
  ];
  const widths = columns.map((_, column) => Math.max(...rows.map((row) => (row[column] ?? "").length)));
  const lines = rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("   "));
  return lines.map((line) => `${line.trimEnd()}\n`).join("");
}

/** A span of time as people say it: `45s`, `12m`, `3h`, `2d`. */
export function formatAge(seconds: number): string {
  if (seconds < 120) return `${Math.floor(seconds)}s`;
  if (seconds < 7_200) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3_600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}
