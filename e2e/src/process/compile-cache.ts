import { join } from "node:path";

/**
 * A folder for our sources as Node compiled them: of the hundreds of processes of a run only the first compile.
 * Undefined outside of a run, which `E2E_RUN` names by its folder.
 */
export function compileCache(env: NodeJS.ProcessEnv): string | undefined {
  const run = env["E2E_RUN"];
  return run ? join(run, "compiled") : undefined;
}

/** The same as an environment for a program. */
export function compileCacheEnv(env: NodeJS.ProcessEnv): Readonly<Record<string, string>> {
  const folder = compileCache(env);
  return folder === undefined ? {} : { NODE_COMPILE_CACHE: folder };
}
