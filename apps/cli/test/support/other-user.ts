import { spawn } from "node:child_process";
import { chmod, chown, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { onTestFinished } from "vitest";
import { MAIN } from "./cli.ts";

/** An account of this machine without privileges; it need not be known by name. */
export interface OtherUser {
  readonly home: string;
  start(command: string, args: readonly string[], env?: Readonly<Record<string, string>>): UserProcess;
  /** The command line tool, with the most careless umask there is. */
  cli(...argv: readonly string[]): UserProcess;
}

export interface UserProcess {
  readonly ended: Promise<{ readonly code: number | null; readonly out: string; readonly err: string }>;
  /** Resolves with what standard error matches, or rejects when the process ended without. */
  said(wanted: RegExp): Promise<string>;
  stop(): void;
}

/**
 * Makes a home folder as most systems do: others may enter and look around.
 *
 * @param variables of the command line tool's environment.
 */
export async function createUser(
  parent: string,
  uid: number,
  shared: string,
  variables: Readonly<Record<string, string>> = {},
): Promise<OtherUser> {
  const home = join(parent, `home-${uid}`);
  await mkdir(home);
  await chown(home, uid, uid);
  await chmod(home, 0o755);
  const start: OtherUser["start"] = (command, args, env = {}) => {
    const child = spawn(command, args, {
      uid,
      gid: uid,
      cwd: home,
      env: { PATH: process.env["PATH"], HOME: home, TMPDIR: shared, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    onTestFinished(() => void child.kill("SIGKILL"));
    let err = "";
    const waiting = new Set<() => void>();
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
      err += chunk;
      for (const look of waiting) look();
    });
    const out = text(child.stdout);
    const ended = new Promise<number | null>((resolve, reject) => {
      child.once("error", reject).once("close", (code) => resolve(code));
    }).then(async (code) => ({ code, out: await out, err }));
    return {
      ended,
      stop: () => void child.kill("SIGTERM"),
      said: (wanted) =>
        new Promise((resolve, reject) => {
          const look = (): void => {
            const found = wanted.exec(err);
            if (found !== null) resolve(found[1] ?? found[0]);
          };
          waiting.add(look);
          look();
          void ended.then(() => reject(new Error(`it ended without saying ${wanted}: ${err}`)), reject);
        }),
    };
  };
  return {
    home,
    start,
    cli: (...argv) =>
      start("sh", ["-c", 'umask 0; exec "$@"', "sh", process.execPath, "--conditions=source", MAIN, ...argv], {
        CLUSTER_CONNECT_TOKEN_STORE: "file",
        ...variables,
      }),
  };
}
