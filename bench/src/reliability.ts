import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { z } from "zod";

/** The suites behind docs/reliability.md. */
const SUITES = ["e2e/suites/reliability", "e2e/suites/connect/cli-run-end"];
const ROOT = resolve(import.meta.dirname, "../..");

/** A scene of a suite: the time that is promised, and the time that was measured. */
export interface ReliabilityScene {
  readonly scene: string;
  readonly promisedMs: number;
  readonly measuredMs: number;
}

const SCENE: z.ZodType<ReliabilityScene> = z.object({
  scene: z.string(),
  promisedMs: z.number(),
  measuredMs: z.number(),
});

/** A run of the suites. */
export interface ReliabilityRun {
  readonly exitCode: number;
  readonly scenes: readonly ReliabilityScene[];
}

/**
 * Runs the suites with the promises themselves, where the test run gives a busy machine three times as long. Their own words
 * go to standard error.
 */
export async function benchReliability(): Promise<ReliabilityRun> {
  const folder = await mkdtemp(join(tmpdir(), "cc-bench-"));
  try {
    const report = join(folder, "scenes.jsonl");
    const args = [
      "--conditions=source",
      join(ROOT, "scripts/test.ts"),
      "--project",
      "e2e",
      "--no-file-parallelism",
      ...SUITES,
    ];
    const suites = spawn(process.execPath, args, {
      cwd: ROOT,
      env: { ...process.env, RELIABILITY_EXACT: "1", RELIABILITY_REPORT: report },
      // The table alone is for standard output.
      stdio: ["ignore", process.stderr, process.stderr],
    });
    const [code] = await once(suites, "exit");
    const scenes = parseScenes(await readFile(report, "utf8").catch(() => ""));
    return { exitCode: typeof code === "number" ? code : 1, scenes };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** @param text a JSON object in each line, as the suites write them. */
export function parseScenes(text: string): readonly ReliabilityScene[] {
  const lines = text.split("\n").filter((line) => line !== "");
  return lines.map((line) => SCENE.parse(JSON.parse(line)));
}

/** A Markdown table in the order of the run. */
export function renderScenes(scenes: readonly ReliabilityScene[]): string {
  const rows = scenes.map(({ scene, promisedMs, measuredMs }) => {
    const kept = measuredMs <= promisedMs ? "kept" : "broken";
    return `| ${scene} | ${promisedMs} | ${Math.round(measuredMs)} | ${kept} |`;
  });
  return ["| scene | promised, ms | measured, ms | |", "| --- | ---: | ---: | --- |", ...rows].join("\n");
}
