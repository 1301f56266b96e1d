import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { ConnectError, ERRORS, type ErrorCode, isErrorCode } from "@cluster-connect/protocol";
import { requireNames } from "../clusters/find.ts";
import { withFileLock } from "../files/file-lock.ts";
import { makePrivateFolder } from "../files/private-file.ts";
import { locateKubeconfig } from "../kubeconfig/location.ts";
import { liveProxies } from "../proxies/choose.ts";
import type { KnownProxy } from "../proxies/running.ts";
import { foldersOf } from "../settings/folders.ts";
import { chooseRelay } from "../settings/relay-choice.ts";
import type { CommandContext } from "./context.ts";
import { type ProxyFlags, proxiesFolder } from "./proxy.ts";

/** Two starts of one cluster wait for each other; a start may wait for hops, so this is longer than any `--wait`. */
const LOCK_WAIT_MS = 900_000;
const POLL_MS = 30;

/**
 * Starts a proxy in the background and waits until it is ready. One that leads to the same clusters, in the same
 * kubeconfig, is taken as it is.
 *
 * @param argv the words of this command, which the background process gets without `--detach`.
 */
export async function detach(flags: ProxyFlags, argv: readonly string[], context: CommandContext): Promise<void> {
  const { deps, signal } = context;
  const names = requireNames(flags.name);
  const target = locateKubeconfig(flags.file, deps);
  if (target.kind === "stdout" || flags.tokenFile === "-") {
    throw new ConnectError("CC_USAGE", "A proxy in the background has no standard input and output", {
      hint: "Leave out --detach, or name files with -f and --token-file.",
    });
  }
  const relay = (await chooseRelay(flags, deps)).url.origin;
  const parent = proxiesFolder(deps);
  await makePrivateFolder(parent);
  const lock = join(foldersOf(deps).state, `detach-${[...names].sort().join("+").slice(0, 100)}.lock`);
  const options = { signal, waitMs: LOCK_WAIT_MS };
  await withFileLock(lock, options, tooLate, async () => {
    const same = (await liveProxies(parent)).find(
      ({ record }) =>
        record.relay === relay &&
        record.kubeconfig === target.path &&
        names.every((name) => record.clusters.some((id) => id === name)),
    );
    const ready = same ?? (await start(argv, parent, context));
    const contexts = ready.record.entries.map(({ context: name }) => name).join(", ");
    const how = same === undefined ? "runs in the background" : "was running already";
    deps.stderr.write(`The proxy ${how} (process ${ready.process.pid}, port ${ready.record.port}).\n`);
    deps.stderr.write(
      `Contexts: ${contexts}. \`cluster-connect stop\` ends it, \`cluster-connect logs\` shows its screen.\n`,
    );
  });
}

async function start(argv: readonly string[], parent: string, { deps, signal }: CommandContext): Promise<KnownProxy> {
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
    const found = (await liveProxies(parent)).find(({ process: owner }) => owner.pid === child.pid);
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

function tooLate(): ConnectError {
  return new ConnectError("CC_TIMEOUT", "Another start of the same proxy takes too long", {
    hint: "Look at `cluster-connect status`, then repeat the command.",
  });
}
