import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { ConnectError, ERRORS, type ErrorCode, isErrorCode } from "@cluster-connect/protocol";
import type { CliDeps } from "../deps.ts";
import { withFileLock } from "../files/file-lock.ts";
import { makePrivateFolder } from "../files/private-file.ts";
import { foldersOf } from "../settings/folders.ts";
import { type KnownProxy, listProxies, proxiesFolder } from "./list.ts";
import { findServing } from "./select.ts";

/** Two starts of one cluster wait for each other; a start may wait for hops, so this is longer than any `--wait`. */
const LOCK_WAIT_MS = 900_000;
const POLL_MS = 30;

/** A proxy in the background, and whether it was there before. */
export interface BackgroundProxy extends KnownProxy {
  readonly isNew: boolean;
}

/**
 * Takes the proxy that is there, or starts one as a process of its own and waits until it is ready. Of several that ask
 * for the same clusters at once, one starts it.
 *
 * @param argv the words of the `proxy` command; its screen goes to a log file.
 * @throws ConnectError as the process in the background said it.
 */
export async function startOnce(
  names: readonly string[],
  argv: readonly string[],
  isIt: (proxy: KnownProxy) => boolean,
  options: { readonly signal: AbortSignal },
  deps: CliDeps,
): Promise<BackgroundProxy> {
  const parent = proxiesFolder(deps);
  await makePrivateFolder(parent);
  const lock = join(foldersOf(deps).state, `detach-${[...names].sort().join("+").slice(0, 100)}.lock`);
  return await withFileLock(lock, { ...options, waitMs: LOCK_WAIT_MS }, startTooLate, async () => {
    const same = await findServing(parent, (one) => one.record.ready && isIt(one), options);
    return same === undefined
      ? { ...(await startDetached(argv, parent, options.signal, deps)), isNew: true }
      : { ...same, isNew: false };
  });
}

async function startDetached(
  argv: readonly string[],
  parent: string,
  signal: AbortSignal,
  deps: CliDeps,
): Promise<KnownProxy> {
  const folder = join(foldersOf(deps).state, "logs");
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const log = join(folder, `proxy-${deps.pid}-${deps.now()}.log`);
  const handle = await open(log, "wx", 0o600);
  const child = spawn(deps.self.command, [...deps.self.args, ...argv, "--log-file", log], {
    detached: true,
    stdio: ["ignore", handle.fd, handle.fd],
    env: { ...deps.env },
  });
  try {
    await once(child, "spawn");
    return await untilReady(child, log, parent, signal);
  } catch (error) {
    child.kill("SIGTERM");
    throw error;
  } finally {
    await handle.close();
    child.unref();
  }
}

async function untilReady(child: ChildProcess, log: string, parent: string, signal: AbortSignal): Promise<KnownProxy> {
  for (;;) {
    const found = (await listProxies(parent)).find(
      ({ process: owner, liveness, record }) => owner.pid === child.pid && liveness !== "gone" && record.ready,
    );
    if (found !== undefined) return found;
    if (child.exitCode !== null || child.signalCode !== null) throw await failureOf(child, log);
    await delay(POLL_MS, undefined, { signal });
  }
}

/** The background process says why it could not start in its last lines. */
async function failureOf(child: ChildProcess, log: string): Promise<ConnectError> {
  const text = await readFile(log, "utf8").catch(() => "");
  const [, message, code] = /^error: (.*) \((CC_[A-Z_]+)\)$/m.exec(text) ?? [];
  const hint = /^hint: (.*)$/m.exec(text)?.[1];
  const known: ErrorCode | undefined = isErrorCode(code) ? code : byExit(child.exitCode);
  return new ConnectError(known ?? "CC_INTERNAL", message ?? `The proxy ended at once; its log is ${log}`, {
    ...(hint === undefined ? {} : { hint }),
  });
}

function byExit(exitCode: number | null): ErrorCode | undefined {
  return Object.keys(ERRORS)
    .filter(isErrorCode)
    .find((code) => ERRORS[code].exit === exitCode);
}

function startTooLate(): ConnectError {
  return new ConnectError("CC_TIMEOUT", "Another start of the same proxy takes too long", {
    hint: "Look at `cluster-connect status`, then repeat the command.",
  });
}
