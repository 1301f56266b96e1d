import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { nodeFlags } from "../../../src/process/node-flags.ts";
import { pollUntil } from "../../../src/process/poll.ts";
import { repositoryFile } from "../../../src/stack/repository-file.ts";
import type { Site } from "./site.ts";

/** How a site's relay is started again. */
export interface RelayAgain {
  /** Settings beside those it had. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** Where its output goes: a pipe that nobody reads, nowhere, or a file. */
  readonly log: "pipe" | "ignore" | number;
  /** A program and its arguments that start the relay, such as a tracer; none by default. */
  readonly under?: readonly string[];
}

const MAIN = repositoryFile("apps/relay/src/main.ts");
const WAIT_MS = 60_000;

/** Ends the site's relay, starts it again, and waits for its agent. @returns what ends it. */
export async function startRelayAgain(site: Site, again: RelayAgain): Promise<() => Promise<void>> {
  const { relay, folder, keeper, relayMetrics } = site;
  relay.program.signal("SIGKILL");
  await relay.program.ended;
  const own: Readonly<Record<string, unknown>> = parse(await readFile(join(folder, "relay", "relay.yaml"), "utf8"));
  const config = join(folder, "again.yaml");
  await writeFile(config, stringify({ ...own, ...again.settings }), { mode: 0o600 });
  const { log, under = [] } = again;
  const program = [process.execPath, ...(await nodeFlags(MAIN)), "--conditions=source", MAIN, "--config", config];
  const [command, ...args] = [...under, ...program];
  const child = spawn(command ?? process.execPath, args, {
    stdio: ["ignore", log, log],
    env: { PATH: "/usr/bin:/bin", HOME: folder },
    // A group of its own, so that a tracer and what it traces end together.
    detached: true,
  });
  const exited = once(child, "exit");
  const { pid } = child;
  if (pid === undefined) throw new Error("the relay does not start");
  const leave = keeper.adopt(pid);
  const isBack = async (): Promise<true | undefined> => {
    const metrics = await relayMetrics().catch(() => undefined);
    return (metrics?.get("tunnels") ?? 0) > 0 ? true : undefined;
  };
  const end = async (): Promise<void> => {
    process.kill(-pid, "SIGKILL");
    await exited;
    leave();
  };
  try {
    await pollUntil(isBack, { signal: AbortSignal.timeout(WAIT_MS) });
  } catch (error) {
    await end();
    throw error;
  }
  return end;
}
