/** `pnpm bench`: asks the questions and prints one table. */
import { execFileSync } from "node:child_process";
import { cpus, loadavg } from "node:os";
import { resolve } from "node:path";
import { writeCertificate } from "./certificate.ts";
import { type BenchRequest, parseBenchArguments } from "./command-line.ts";
import { createLab } from "./lab.ts";
import { measure, type Row } from "./measure.ts";
import { createProcesses, type Processes } from "./process/processes.ts";
import { startProgram } from "./programs/settings.ts";
import type { UpstreamSettings } from "./programs/upstream/settings.ts";
import { QUESTIONS } from "./questions.ts";
import { benchReliability, renderScenes } from "./reliability.ts";
import { renderTable } from "./table.ts";

/** Where the person typed it; pnpm itself starts scripts in the package's folder. */
const FOLDER = process.env["INIT_CWD"] ?? process.cwd();

function readRequest(): BenchRequest {
  try {
    return parseBenchArguments(process.argv.slice(2), [...QUESTIONS.keys()]);
  } catch (error) {
    console.error(`error: ${error instanceof Error ? error.message : String(error)}`);
    process.exit(2);
  }
}

async function ask(request: BenchRequest, processes: Processes): Promise<readonly Row[]> {
  const { rounds, rttMs, profileFolder, nodeFlags } = request;
  const certificate = await writeCertificate(processes.folder, { now: () => new Date() });
  const { certFile, keyFile } = certificate;
  const end = async (): Promise<number> =>
    (await startProgram<number>("upstream", { certFile, keyFile } satisfies UpstreamSettings, processes)).answer;
  const ends = { quiet: await end(), bulk: await end() };
  const profiles = profileFolder === undefined ? undefined : resolve(FOLDER, profileFolder);
  const lab = await createLab(
    { longRttMs: rttMs },
    { processes, certificate, ends, profileFolder: profiles, nodeFlags },
  );
  for (const reason of lab.skipped) console.error(`skipped: ${reason}`);
  const rows: Row[] = [];
  for (const name of request.questions) {
    const startedAt = performance.now();
    const question = await QUESTIONS.get(name)?.(lab);
    if (question === undefined) continue;
    rows.push(...(await measure(question, { rounds })));
    console.error(`${question.name}: ${((performance.now() - startedAt) / 1_000).toFixed(0)} s`);
  }
  await lab.stop();
  return rows;
}

function surroundings(): Readonly<Record<string, unknown>> {
  const [cpu] = cpus();
  return {
    commit: execFileSync("git", ["describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"], {
      encoding: "utf8",
    }).trim(),
    node: process.version,
    cpu: cpu?.model.trim() ?? "unknown",
    cpus: cpus().length,
    load: loadavg().map((value) => Number(value.toFixed(1))),
  };
}

const [first, ...rest] = process.argv.slice(2).filter((word) => word !== "--");
// Not a question: it asks for times and losses, and compares them with promises rather than with other chains.
if (first === "reliability") {
  const { exitCode, scenes } = await benchReliability();
  console.log(rest.includes("--json") ? JSON.stringify({ scenes }, null, 2) : `\n${renderScenes(scenes)}`);
  process.exit(exitCode);
}

const request = readRequest();
const processes = await createProcesses();
process.once("exit", () => processes.abandon());
for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const) {
  process.once(signal, () => process.exit(code));
}
const before = surroundings();
const rows = await ask(request, processes).catch((error: unknown) => {
  console.error(`error: ${error instanceof Error ? error.message : String(error)}`);
  process.exit(1);
});
if (request.json) {
  console.log(JSON.stringify({ ...before, ...request, rows }, null, 2));
} else {
  console.log(
    `\n${Object.entries(before)
      .map(([name, value]) => `${name} ${String(value)}`)
      .join(" · ")}\n`,
  );
  console.log(renderTable(rows));
}
process.exit(0);
