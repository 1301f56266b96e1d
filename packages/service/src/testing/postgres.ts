import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { chmod, chown, mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

/** A PostgreSQL server of a test's own, on loopback. */
export interface TestPostgres {
  /** Address of a new, empty database. */
  createDatabase(): Promise<string>;
  /** What a query of a database answers: a line for each row, columns joined by `|`. */
  query(url: string, sql: string): Promise<readonly string[]>;
  /** Of the last start, for whoever ends it should this process be killed. */
  readonly pid: number;
  /** Ends the server as an operator would, at once for its clients; its data stay. */
  pause(): Promise<void>;
  /** Starts it again on the same port. */
  resume(): Promise<void>;
  /** Ends it and removes its data. */
  stop(): Promise<void>;
}

const DEBIAN_FOLDER = "/usr/lib/postgresql";
const RUN = promisify(execFile);
const READY_TEXT = "ready to accept connections";

/** Why there is no PostgreSQL on this machine; undefined when there is one. */
export function missingPostgres(): string | undefined {
  return findPrograms() === undefined ? "PostgreSQL is not installed (Debian's package postgresql)" : undefined;
}

/** Makes a data folder and starts a server over it, as an unprivileged user where this process is root. */
export async function startTestPostgres(): Promise<TestPostgres> {
  const programs = findPrograms();
  if (programs === undefined) throw new Error(missingPostgres());
  const folder = await mkdtemp(join(tmpdir(), "cc-postgres-"));
  const user = unprivileged();
  if (user !== undefined) await chown(folder, user.uid, user.gid);
  await chmod(folder, 0o700);
  const data = join(folder, "data");
  const as = { ...user, cwd: folder, env: { LC_ALL: "C" } };
  await RUN(join(programs, "initdb"), ["-D", data, "-U", "relay", "-A", "trust", "-E", "UTF8", "--locale=C"], as);
  const port = await freePort();
  const where = ["-h", "127.0.0.1", "-p", String(port), "-U", "relay"];
  const args = ["-D", data, "-p", String(port), "-k", folder, "-c", "listen_addresses=127.0.0.1"];
  let server = await start();
  let databases = 0;

  async function start(): Promise<ReturnType<typeof spawn>> {
    const started = spawn(join(programs ?? "", "postgres"), args, { ...as, stdio: ["ignore", "ignore", "pipe"] });
    let log = "";
    for await (const chunk of started.stderr) {
      log += String(chunk);
      if (!log.includes(READY_TEXT)) continue;
      break;
    }
    if (!log.includes(READY_TEXT)) throw new Error(`PostgreSQL did not start: ${log}`);
    return started;
  }

  async function end(): Promise<void> {
    if (server.exitCode !== null || server.signalCode !== null) return;
    const exited = once(server, "exit");
    server.kill("SIGINT");
    await exited;
  }

  return {
    async createDatabase() {
      databases += 1;
      const name = `relay_${databases}`;
      await RUN(join(programs, "createdb"), [...where, name], as);
      return `postgres://relay@127.0.0.1:${port}/${name}`;
    },
    async query(url, sql) {
      const { stdout } = await RUN(join(programs, "psql"), ["-X", "-At", "-c", sql, url], as);
      return stdout.split("\n").filter((line) => line !== "");
    },
    get pid() {
      return server.pid ?? 0;
    },
    pause: end,
    async resume() {
      server = await start();
    },
    async stop() {
      await end();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Folder of the newest server's programs. */
function findPrograms(): string | undefined {
  if (!existsSync(DEBIAN_FOLDER)) return undefined;
  return readdirSync(DEBIAN_FOLDER)
    .toSorted((a, b) => Number(b) - Number(a))
    .map((version) => join(DEBIAN_FOLDER, version, "bin"))
    .find((bin) => existsSync(join(bin, "initdb")));
}

/** PostgreSQL refuses to run as root; Debian's package makes a user for it. */
function unprivileged(): { readonly uid: number; readonly gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const lines = readFileSync("/etc/passwd", "utf8").split("\n");
  const line = lines.find((text) => text.startsWith("postgres:")) ?? lines.find((text) => text.startsWith("nobody:"));
  const [, , uid, gid] = line?.split(":") ?? [];
  return { uid: Number(uid), gid: Number(gid) };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
