import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { connect } from "node:net";
import { pollUntil } from "../process/poll.ts";

/** Listens, and never comes to take a connection: it blocks for good. */
const PROGRAM = `
  const [port] = process.argv.slice(1);
  require("node:net").createServer().listen({ port: Number(port), host: "127.0.0.1", backlog: 1 }, () => {
    require("node:fs").writeSync(1, "listening");
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  });
`;
/** Connections that the system takes for a listener that takes none, with its backlog of one. */
const TAKEN = 2;
const WAIT_MS = 60_000;
/** State of a socket that listens, in the system's table. */
const LISTENS = "0A";

/**
 * Has a port of loopback whose listener's backlog is full: the system drops the first packet of each who connects, and
 * says nothing. Linux alone does so.
 *
 * @returns how to let go of the port.
 */
export async function startSilentPort(port: number): Promise<() => Promise<void>> {
  const child = spawn(process.execPath, ["-e", PROGRAM, String(port)], { stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(child, "exit");
  await Promise.race([once(child.stdout, "data"), exited.then(() => Promise.reject(new Error("no silent port")))]);
  // Some of those that dial the port may have come before.
  const taken = Array.from({ length: TAKEN }, () => connect(port, "127.0.0.1").on("error", () => undefined));
  const isFull = async (): Promise<true | undefined> => ((await waiting(port)) >= TAKEN ? true : undefined);
  await pollUntil(isFull, { signal: AbortSignal.timeout(WAIT_MS) });
  return async () => {
    child.kill("SIGKILL");
    await exited;
    for (const socket of taken) socket.destroy();
  };
}

/** How many connections wait for the listener of a port, as the system counts them. */
async function waiting(port: number): Promise<number> {
  const own = `0100007F:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  for (const line of (await readFile("/proc/net/tcp", "utf8")).split("\n")) {
    const [, local, , state, queues = ""] = line.trim().split(/\s+/);
    if (local === own && state === LISTENS) return Number.parseInt(queues.split(":")[1] ?? "", 16);
  }
  return 0;
}
