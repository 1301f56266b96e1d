import { fileURLToPath } from "node:url";
import type { Processes, Running } from "../process/processes.ts";

type Program = "delay" | "hop" | "load" | "net-proxy" | "opener" | "upstream";

const PROGRAMS: Readonly<Record<Program, URL>> = {
  delay: new URL("./delay/main.ts", import.meta.url),
  hop: new URL("./hop/main.ts", import.meta.url),
  load: new URL("./load/main.ts", import.meta.url),
  "net-proxy": new URL("./net-proxy/main.ts", import.meta.url),
  opener: new URL("./opener/main.ts", import.meta.url),
  upstream: new URL("./upstream/main.ts", import.meta.url),
};

/** A program that has said it is ready. */
export interface StartedProgram<Answer> {
  readonly running: Running;
  readonly answer: Answer;
}

/** Starts a program of this folder with its settings, and waits for what it says when it is ready. */
export async function startProgram<Answer>(
  program: Program,
  settings: object,
  processes: Processes,
  options: { readonly name?: string; readonly execArgv?: readonly string[] } = {},
): Promise<StartedProgram<Answer>> {
  const main = fileURLToPath(PROGRAMS[program]);
  const running = await processes.node(options.name ?? program, main, {
    args: [JSON.stringify(settings)],
    ...(options.execArgv === undefined ? {} : { execArgv: options.execArgv }),
  });
  return { running, answer: (await running.heard()) as Answer };
}

/** The settings that {@link startProgram} gave to this program. */
export function readSettings<Settings>(argv: readonly string[]): Settings {
  return JSON.parse(argv[2] ?? "{}") as Settings;
}
