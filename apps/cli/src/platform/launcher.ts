import { existsSync, realpathSync } from "node:fs";
import { basename, delimiter, isAbsolute, join } from "node:path";
import type { Environment, SelfCommand } from "../deps.ts";

/** How this process was started. */
export interface StartFacts {
  readonly env: Environment;
  /** The running Node or single executable, with all links followed. */
  readonly execPath: string;
  readonly execArgs: readonly string[];
  /** The script as it was named; undefined for a single executable, which is its own. */
  readonly script: string | undefined;
}

/** Folders that a version manager or npx makes for one shell or one start, and empties by itself. */
const PASSING = /[\\/](?:fnm_multishells|_npx|\.npm[\\/]_cacache|dlx-[^\\/]+|pnpm[\\/]dlx)[\\/]/;

/**
 * How this program is started again tomorrow: by names on PATH that lead to the running files, where there are such.
 * They stay when Node or this program is replaced by a newer version. The path that they lead to now often has a
 * version in it.
 */
export function launcherOf({ env, execPath, execArgs, script }: StartFacts): SelfCommand {
  if (script === undefined) return { command: lastingName(execPath, [basename(execPath)], env), args: [] };
  const names = [basename(script), "cluster-connect", "kubectl-cluster_connect"];
  return {
    command: lastingName(execPath, [basename(execPath), "node"], env),
    args: [...execArgs, lastingName(script, names, env)],
  };
}

/** Whether a program is where npx or another tool keeps what it will throw away. */
export function isPassing({ command, args }: SelfCommand): boolean {
  return [command, ...args].some((path) => PASSING.test(path));
}

/** A file that an entry needs and that is no longer there; undefined when all of them are. */
export function missingProgram({ command, args }: SelfCommand): string | undefined {
  const own = args.slice(0, Math.max(0, args.indexOf("credential")));
  return [command, ...own].find((path) => isAbsolute(path) && !existsSync(path));
}

function lastingName(path: string, names: readonly string[], env: Environment): string {
  const real = realPath(path);
  if (real === undefined) return path;
  const folders = (env["PATH"] ?? "").split(delimiter).filter((folder) => isAbsolute(folder));
  const found = folders
    .flatMap((folder) => names.map((name) => join(folder, name)))
    .filter((candidate) => !PASSING.test(candidate) && realPath(candidate) === real);
  // A link says less about a version than its target.
  return found.find((candidate) => candidate !== real) ?? found[0] ?? path;
}

function realPath(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined;
  }
}
