import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { chown, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "./free-port.ts";
import { unprivileged } from "./unprivileged.ts";

/** PgBouncer of a test's own, on loopback, in transaction mode. */
export interface TestPgbouncer {
  /** Address of the same database through it. */
  through(url: string): string;
  /** Of the last start, for whoever ends it should this process be killed. */
  readonly pid: number;
  /** Ends it at once for its clients and starts it again on the same port. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

const PROGRAM = "/usr/sbin/pgbouncer";
const READY_TEXT = "process up";
/** Fewer than what a store uses at the same time, so that transactions of several clients share each. */
const POOL_SIZE = 2;

/** Why there is no PgBouncer on this machine; undefined when there is one. */
export function missingPgbouncer(): string | undefined {
  return existsSync(PROGRAM) ? undefined : "PgBouncer is not installed (Debian's package pgbouncer)";
}

/** @param upstream any address at the server that it stands before. */
export async function startTestPgbouncer(upstream: string): Promise<TestPgbouncer> {
  const missing = missingPgbouncer();
  if (missing !== undefined) throw new Error(missing);
  const { hostname, port: upstreamPort, username } = new URL(upstream);
  const folder = await mkdtemp(join(tmpdir(), "cc-pgbouncer-"));
  const user = unprivileged();
  if (user !== undefined) await chown(folder, user.uid, user.gid);
  const port = await freePort();
  const config = join(folder, "pgbouncer.ini");
  const lines = [
    ...["[databases]", `* = host=${hostname} port=${upstreamPort} user=${username}`],
    ...["[pgbouncer]", "listen_addr = 127.0.0.1", `listen_port = ${port}`, "unix_socket_dir =", "auth_type = any"],
    ...["pool_mode = transaction", `default_pool_size = ${POOL_SIZE}`, "max_client_conn = 500"],
    // Its own 15 seconds are a long time for whoever waits for a test.
    "server_login_retry = 1",
  ];
  await writeFile(config, `${lines.join("\n")}\n`, { mode: 0o644 });
  let program = await start();

  async function start(): Promise<ChildProcess> {
    const started = spawn(PROGRAM, [config], { ...user, cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
    let log = "";
    for await (const chunk of started.stderr.iterator({ destroyOnReturn: false })) {
      log += String(chunk);
      if (log.includes(READY_TEXT)) break;
    }
    if (!log.includes(READY_TEXT)) throw new Error(`PgBouncer did not start: ${log}`);
    started.stderr.resume();
    return started;
  }

  async function end(): Promise<void> {
    if (program.exitCode !== null || program.signalCode !== null) return;
    const exited = once(program, "exit");
    program.kill("SIGTERM");
    await exited;
  }

  return {
    through(url) {
      const address = new URL(url);
      address.port = String(port);
      return address.href;
    },
    get pid() {
      return program.pid ?? 0;
    },
    async restart() {
      await end();
      program = await start();
    },
    async stop() {
      await end();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
