import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ConnectError } from "@cluster-connect/protocol";
import { stringify } from "yaml";
import { compileCacheEnv } from "./compile-cache.ts";
import { freePort } from "./free-port.ts";
import type { Keeper, Program } from "./keeper.ts";
import { type LogEvent, waitForLogEvent } from "./log-events.ts";
import { nodeFlags } from "./node-flags.ts";

/** One of our daemons, started from its sources with a configuration file. */
export interface DaemonSpec {
  readonly name: string;
  /** Its `main.ts`. */
  readonly main: string;
  /** A folder of its own, made when it is missing. */
  readonly folder: string;
  readonly config: Readonly<Record<string, unknown>>;
  /** The event that it logs when it is ready. */
  readonly readyEvent: string;
  /** Another log file for another run of the same daemon. */
  readonly logName?: string;
  /** More of its environment. */
  readonly env?: Readonly<Record<string, string>>;
}

/** A daemon that has said it is ready. */
export interface Daemon {
  readonly program: Program;
  readonly ready: LogEvent;
}

const ATTEMPTS = 5;
const PORT_TAKEN = /EADDRINUSE|CC_PORT_IN_USE|already in use|is in use/;

/**
 * Writes a daemon's configuration, starts it and resolves when it is ready.
 *
 * @throws ConnectError `CC_INTERNAL` with its last lines when it ends before.
 */
export async function startDaemon(
  spec: DaemonSpec,
  options: { readonly signal: AbortSignal },
  deps: { readonly keeper: Keeper },
): Promise<Daemon> {
  const { name, folder } = spec;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const configPath = join(folder, `${name}.yaml`);
  await writeFile(configPath, stringify(spec.config, { aliasDuplicateObjects: false }), { mode: 0o600 });
  const program = await deps.keeper.start({
    name,
    command: process.execPath,
    args: [...(await nodeFlags(spec.main)), "--conditions=source", spec.main, "--config", configPath],
    env: { HOME: folder, TMPDIR: folder, PATH: "/usr/bin:/bin", ...compileCacheEnv(process.env), ...spec.env },
    cwd: folder,
    logPath: join(folder, `${spec.logName ?? name}.log`),
  });
  const ready = await waitForLogEvent(program, (event) => event["event"] === spec.readyEvent, options);
  return { program, ready };
}

/** Starts something on a free port, and on another one when another process took it meanwhile. */
export async function onFreePort<T>(start: (port: number, attempt: number) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await start(await freePort(), attempt);
    } catch (error) {
      const clash = error instanceof ConnectError && PORT_TAKEN.test(error.message);
      if (!clash || attempt === ATTEMPTS) throw error;
    }
  }
}
