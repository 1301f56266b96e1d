import { randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, rm, stat } from "node:fs/promises";
import { createConnection, createServer, type Server } from "node:net";
import { hostname } from "node:os";
import { join } from "node:path";
import { instanceIdOf } from "@cluster-connect/auth";
import { type Clock, SYSTEM_CLOCK, systemCode } from "@cluster-connect/base";
import { type InstanceId, MAX_FOLLOWED, parseSecret, type Secret } from "@cluster-connect/protocol";
import { writeFileAtomic } from "@cluster-connect/service";
import { z } from "zod";

/** This process among those that used the same folder before it. */
export interface AgentInstance {
  readonly instanceId: InstanceId;
  /** Secrets of processes that were killed: this one took their place. None once their streams are over. */
  readonly follows: readonly Secret[];
  /** Why the folder says nothing of this process; absent when it does. */
  readonly unrecorded?: string | undefined;
  /** Takes this process out of the folder: it has told the openers of its streams itself. */
  leave(): Promise<void>;
}

export interface InstanceDeps {
  readonly random: (bytes: number) => Buffer;
  readonly hostname: () => string;
  readonly clock: Clock;
}

const SYSTEM_INSTANCE_DEPS: InstanceDeps = { random: randomBytes, hostname, clock: SYSTEM_CLOCK };

const RECORD = z.object({ secret: z.string(), host: z.string() });
const RECORD_FILE = /^instance-([A-Za-z0-9_-]{22})\.json$/;
const SECRET_BYTES = 32;

/**
 * Records this process in a folder that outlives it, and finds those that were killed there. A process that lives
 * listens at a socket beside its record. A folder that cannot be written records nothing, which is no error.
 *
 * @param options `dir` is the folder; processes of another machine that share it are left alone. `graceMs` is how long
 *   the openers of a killed process wait for it.
 */
export async function recordInstance(
  { dir, graceMs }: { readonly dir: string; readonly graceMs: number },
  deps: InstanceDeps = SYSTEM_INSTANCE_DEPS,
): Promise<AgentInstance> {
  const secret = parseSecret(deps.random(SECRET_BYTES).toString("base64url"));
  const instanceId = instanceIdOf(secret);
  try {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    let follows = await takeOver(dir, deps.hostname());
    const sign = await listen(socketOf(dir, instanceId));
    const record = JSON.stringify({ secret, host: deps.hostname() });
    await writeFileAtomic(recordOf(dir, instanceId), `${record}\n`, { mode: 0o600 });
    const forget = async (): Promise<void> => {
      const gone = follows;
      follows = [];
      for (const one of gone) await remove(dir, instanceIdOf(one));
    };
    const timer = deps.clock.setTimer(graceMs, () => void forget());
    return {
      instanceId,
      get follows() {
        return follows;
      },
      leave: async () => {
        timer.cancel();
        await forget();
        await remove(dir, instanceId);
        sign.close();
      },
    };
  } catch (error) {
    return { instanceId, follows: [], unrecorded: systemCode(error) || "it failed", leave: async () => undefined };
  }
}

/** The killed ones, newest first. Older records than are told to a relay go. */
async function takeOver(dir: string, host: string): Promise<readonly Secret[]> {
  const found: { readonly id: string; readonly secret: Secret; readonly at: number }[] = [];
  for (const name of await readdir(dir)) {
    const id = RECORD_FILE.exec(name)?.[1];
    const record = id === undefined ? undefined : await readRecord(join(dir, name));
    if (id === undefined || record?.host !== host || instanceIdOf(record.secret) !== id) continue;
    if (await isListenedAt(socketOf(dir, id))) continue;
    found.push({ id, secret: record.secret, at: record.at });
  }
  const newest = found.toSorted((a, b) => b.at - a.at);
  for (const { id } of newest.slice(MAX_FOLLOWED)) await remove(dir, id);
  return newest.slice(0, MAX_FOLLOWED).map(({ secret }) => secret);
}

async function readRecord(
  file: string,
): Promise<{ readonly secret: Secret; readonly host: string; readonly at: number } | undefined> {
  try {
    const { secret, host } = RECORD.parse(JSON.parse(await readFile(file, "utf8")));
    return { secret: parseSecret(secret), host, at: (await stat(file)).mtimeMs };
  } catch {
    return undefined;
  }
}

async function listen(path: string): Promise<Server> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const server = createServer((socket) => void socket.destroy());
  server.on("error", reject);
  server.listen(path, resolve);
  await promise;
  server.on("error", () => undefined);
  server.unref();
  return server;
}

/** The system answers for a process that is stopped, and refuses for one that is gone. */
async function isListenedAt(path: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = createConnection(path);
  socket.once("connect", () => resolve(true));
  // A backlog that is full, or a socket of another user's, is somebody's who lives.
  socket.on("error", (error) => resolve(!["ECONNREFUSED", "ENOENT"].includes(systemCode(error))));
  const lives = await promise;
  socket.destroy();
  return lives;
}

async function remove(dir: string, id: string): Promise<void> {
  await rm(recordOf(dir, id), { force: true }).catch(() => undefined);
  await rm(socketOf(dir, id), { force: true }).catch(() => undefined);
}

function recordOf(dir: string, id: string): string {
  return join(dir, `instance-${id}.json`);
}

function socketOf(dir: string, id: string): string {
  return join(dir, `${id}.sock`);
}
