import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parse } from "yaml";
import { z } from "zod";
import { type RunResult, runToEnd } from "../../../src/process/run-to-end.ts";
import { repositoryFile } from "../../../src/stack/repository-file.ts";
import { NO_END } from "../stack.ts";

/** One shell step of an action or a template, as it stands in the file. */
export interface ShellStep {
  readonly name: string;
  readonly script: string;
  readonly env: Readonly<Record<string, string>>;
  /** When it runs: the service's own expression. */
  readonly condition: string;
}

const SCALAR = z.union([z.string(), z.boolean(), z.number()]).transform(String);
const GITHUB = z.object({
  runs: z.object({
    steps: z.array(
      z.object({
        name: z.string(),
        run: z.string(),
        if: z.string().default("success()"),
        env: z.record(z.string(), SCALAR).default({}),
      }),
    ),
  }),
});
const AZURE_STEP = z.object({
  bash: z.string(),
  displayName: z.string(),
  condition: z.string().default("succeeded()"),
  env: z.record(z.string(), SCALAR).default({}),
});
const AZURE = z.object({ steps: z.array(z.record(z.string(), z.unknown())) });

/** The steps of a composite action. */
export async function githubSteps(path: string): Promise<readonly ShellStep[]> {
  const { runs } = GITHUB.parse(parse(await readFile(repositoryFile(path), "utf8")));
  return runs.steps.map(({ name, run, if: condition, env }) => ({ name, script: run, env, condition }));
}

/** The shell steps of a template; where the caller's own steps go there is none. */
export async function azureSteps(path: string): Promise<readonly ShellStep[]> {
  const { steps } = AZURE.parse(parse(await readFile(repositoryFile(path), "utf8")));
  return steps
    .filter((step) => "bash" in step)
    .map((step) => AZURE_STEP.parse(step))
    .map(({ bash, displayName, condition, env }) => ({ name: displayName, script: bash, env, condition }));
}

/** A job's place: what the service keeps between its steps. */
export interface Job {
  readonly env: Record<string, string>;
  readonly values: Readonly<Record<string, string>>;
  readonly folder: string;
}

/** Runs a step as the service does: expressions replaced in `env` only, the script by bash from a file. */
export async function runStep(job: Job, step: ShellStep): Promise<RunResult> {
  const own = Object.entries(step.env).map(([name, text]) => [name, replaceExpressions(text, job.values)] as const);
  if (/\$\{\{/.test(step.script)) throw new Error(`${step.name}: an expression in a script can be injected into`);
  const env = { ...job.env, ...Object.fromEntries(own) };
  return await runToEnd("bash", ["--noprofile", "--norc", "-eo", "pipefail", "-c", step.script], {
    env,
    cwd: job.folder,
    signal: NO_END,
  });
}

/** The variables that steps wrote into a file of `name=value` lines. */
export async function readVariables(path: string): Promise<Readonly<Record<string, string>>> {
  const lines = (await readFile(path, "utf8").catch(() => "")).split("\n").filter((line) => line.includes("="));
  return Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]));
}

/** The variables that a step told Azure's agent on its output. */
export function azureVariables(stdout: string): Readonly<Record<string, string>> {
  const found = stdout.matchAll(/^##vso\[task\.setvariable variable=(\w+)\](.*)$/gm);
  return Object.fromEntries([...found].map(([, name = "", value = ""]) => [name, value]));
}

export const file = (job: Job, name: string): string => join(job.folder, name);

function replaceExpressions(text: string, values: Readonly<Record<string, string>>): string {
  const value = (name: string): string => {
    const found = values[name.trim()];
    if (found === undefined) throw new Error(`the test has no value for ${name}`);
    return found;
  };
  return text
    .replaceAll(/\$\{\{([^}]*)\}\}/g, (_all, name: string) => value(name))
    .replaceAll(/\$\(([\w.]+)\)/g, (_all, name: string) => value(name));
}
