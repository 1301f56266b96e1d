import { execFileSync } from "node:child_process";
import { cpus } from "node:os";
import { bulk } from "./bulk.ts";
import type { Measured } from "./measure.ts";
import { roundTrip } from "./round-trip.ts";

const QUESTIONS: Readonly<Record<string, () => Promise<Measured>>> = { bulk, "round-trip": roundTrip };

const wanted = process.argv.slice(2).filter((word) => word !== "--" && word !== "--json");
const unknown = wanted.filter((name) => QUESTIONS[name] === undefined);
if (unknown.length > 0) {
  console.error(`error: there is no question ${unknown.join(", ")}`);
  console.error(`hint: choose from ${Object.keys(QUESTIONS).join(", ")}, or name none for all.`);
  process.exit(2);
}

const results: Measured[] = [];
for (const [name, ask] of Object.entries(QUESTIONS)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  console.error(`measuring ${name} …`);
  results.push(await ask());
}
if (process.argv.includes("--json")) {
  const commit = execFileSync("git", ["rev-parse", "HEAD"], { encoding: "utf8" }).trim();
  console.log(JSON.stringify({ commit, node: process.version, cpu: cpus()[0]?.model ?? "unknown", results }, null, 2));
} else {
  console.table(
    results.flatMap(({ question, unit, subjects }) =>
      subjects.map(({ name, spread, ratio }) => ({
        question,
        subject: name,
        unit,
        median: Number(spread.median.toPrecision(4)),
        min: Number(spread.min.toPrecision(4)),
        max: Number(spread.max.toPrecision(4)),
        ratio: Number(ratio.toFixed(2)),
      })),
    ),
  );
}
