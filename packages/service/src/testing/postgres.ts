import { execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import { appendFile, chmod, chown, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { freePort } from "./free-port.ts";
import { unprivileged } from "./unprivileged.ts";

/** A PostgreSQL server of a test's own, on loopback. */
export interface TestPostgres {
  /** Address of a new, empty database. */
  createDatabase(): Promise<string>;
  /** The answer to a query: a line for each row, columns joined by `|`. */
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

export interface TestPostgresOptions {
  /** A further address to listen at; whoever comes there needs the password, which is in the databases' addresses. */
  readonly host?: string;
}

/** Makes a data folder and starts a server over it, as an unprivileged user where this process is root. */
export async function startTestPostgres({ host }: TestPostgresOptions = {}): Promise<TestPostgres> {
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
  const addresses = host === undefined ? "127.0.0.1" : `127.0.0.1,${host}`;
  const args = ["-D", data, "-p", String(port), "-k", folder, "-c", `listen_addresses=${addresses}`];
  if (host !== undefined) await appendFile(join(data, "pg_hba.conf"), "host all all 0.0.0.0/0 scram-sha-256\n");
  let server = await start();
  let databases = 0;
  const password = randomBytes(16).toString("hex");
  if (host !== undefined) {
    await RUN(join(programs, "psql"), [...where, "-Xqc", `alter role relay password '${password}'`, "postgres"], as);
  }
  const authority = host === undefined ? "relay@127.0.0.1" : `relay:${password}@${host}`;

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
      return `postgres://${authority}:${port}/${name}`;
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
