import { join } from "node:path";
import type { CliDeps, Environment } from "../deps.ts";

/** Where the tool keeps what outlives it; by the XDG base directory rules on every platform. */
export interface Folders {
  /** Settings and trusted clusters: worth a backup. */
  readonly config: string;
  /** Logins and running proxies. */
  readonly state: string;
}

const NAME = "cluster-connect";

/** The tool's folders; none of them need exist. */
export function foldersOf(deps: Pick<CliDeps, "env" | "homeDir">): Folders {
  return {
    config: join(base(deps.env, "XDG_CONFIG_HOME", join(deps.homeDir, ".config")), NAME),
    state: join(base(deps.env, "XDG_STATE_HOME", join(deps.homeDir, ".local", "state")), NAME),
  };
}

/** A relative path is ignored, as the XDG rules ask. */
function base(env: Environment, variable: string, fallback: string): string {
  const value = env[variable];
  return value?.startsWith("/") || /^[A-Za-z]:[\\/]/.test(value ?? "") ? (value ?? fallback) : fallback;
}
