import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Keeper } from "../process/keeper.ts";
import { waitForLogEvent } from "../process/log-events.ts";

/** Upstreams for raw streams, in a process of their own. */
export interface Echo {
  /** Answers what it is told, and half-closes when it is half-closed. */
  readonly echoPort: number;
  /** Reads a count (u32, big endian), says as many bytes of `patternBytes` and closes at once. */
  readonly sourcePort: number;
}

const MAIN: string = fileURLToPath(new URL("./echo/main.ts", import.meta.url));

/** Starts the process; the keeper ends it. */
export async function startEcho(
  options: { readonly folder: string; readonly signal: AbortSignal },
  deps: { readonly keeper: Keeper },
): Promise<Echo> {
  const program = await deps.keeper.start({
    name: "echo",
    command: process.execPath,
    args: ["--conditions=source", MAIN],
    env: { HOME: options.folder },
    cwd: options.folder,
    logPath: join(options.folder, "echo.log"),
  });
  const ready = await waitForLogEvent(program, (event) => event["event"] === "echo.ready", options);
  return { echoPort: Number(ready["echo"]), sourcePort: Number(ready["source"]) };
}
