import { type ChildProcess, spawn } from "node:child_process";
import { rm } from "node:fs/promises";
import { constants, tmpdir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { systemCode } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import { requireNames } from "../../cluster/find.ts";
import type { ClusterTrustFlags } from "../../cluster/trust-sources.ts";
import type { Environment } from "../../deps.ts";
import { createWorkFolder, sweepWorkFolders } from "../../files/work-folder.ts";
import { credentialFor, entryName, type KubeconfigEntry, withExecApi } from "../../kubeconfig/entry.ts";
import type { ExecApiVersion } from "../../kubeconfig/exec-api.ts";
import { changeKubeconfig } from "../../kubeconfig/file.ts";
import { type ClusterProxy, openProxy } from "../../proxy/open-proxy.ts";
import { chooseRelay, type RelayFlags } from "../../relay/choice.ts";
import { createScreen } from "../../terminal/screen.ts";
import { chooseTokens } from "../../tokens/choose-tokens.ts";
import { findGivenTokens, type TokenFlags } from "../../tokens/given/token-flags.ts";
import type { CommandContext } from "../context.ts";
import { credentialCommand } from "../login/command-tokens.ts";

export interface RunFlags extends RelayFlags, TokenFlags, ClusterTrustFlags {
  readonly name?: readonly string[];
  readonly resourceGroup?: string;
  readonly execApiVersion?: ExecApiVersion;
  /** Seconds. */
  readonly wait?: number;
  readonly verbose?: boolean;
}

const PREFIX = "cluster-connect-run-";
/** How long connections of a command that has ended may take to end; `run --help` tells it. */
const LINGER_SECONDS = 10;
const PROXIES = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"];

/**
 * Runs a command with a private kubeconfig that leads to clusters, and removes everything afterwards.
 *
 * @returns the command's exit code, or 128 and the number of the signal that ended it.
 */
export async function runWithClusters(
  flags: RunFlags,
  command: readonly string[],
  context: CommandContext,
): Promise<number> {
  const { deps, signal } = context;
  const names = requireNames(flags.name);
  const relay = await chooseRelay(flags, deps);
  const given = await findGivenTokens(flags, deps);
  const base = resolve(deps.env["TMPDIR"] || tmpdir());
  await sweepWorkFolders(base, PREFIX);
  const folder = await createWorkFolder(base, PREFIX, deps.pid);
  const end = new AbortController();
  let opened: ClusterProxy | undefined;
  try {
    const newest = await credentialCommand(relay, given, { folder, signal: context.signal }, deps);
    const credential = withExecApi(newest, flags.execApiVersion);
    opened = await openProxy(
      {
        relay,
        names,
        group: flags.resourceGroup,
        trust: flags,
        port: 0,
        ...(flags.wait === undefined ? {} : { waitMs: flags.wait * 1_000 }),
        signal: AbortSignal.any([signal, end.signal]),
      },
      // The command owns the terminal: only what is wrong is said, unless asked.
      {
        cli: deps,
        tokens: chooseTokens(relay.url, given, deps),
        screen: createScreen(deps, { quiet: flags.verbose !== true }),
      },
    );
    const entries = opened.clusters.map(
      ({ cluster, trust, port }): KubeconfigEntry => ({
        name: entryName(relay.url, cluster.id),
        context: cluster.id,
        port,
        serverName: cluster.serverName,
        authorities: trust.authorities.pem,
        credential: credentialFor(credential, cluster.id),
      }),
    );
    const kubeconfig = join(folder, "kubeconfig");
    await changeKubeconfig(kubeconfig, { signal }, (document) => document.add(entries));
    const code = await runCommand(command, kubeconfig, context);
    await endPolitely(opened, context);
    return code;
  } finally {
    end.abort(new ConnectError("CC_CANCELLED", "The command has ended"));
    await opened?.closed;
    await rm(folder, { recursive: true, force: true });
  }
}

/** Lets the bytes that the command wrote before it ended arrive. Ctrl-C ends the waiting. */
async function endPolitely(proxy: ClusterProxy, { deps, signal }: CommandContext): Promise<void> {
  const left = await proxy.drain({ lingerMs: LINGER_SECONDS * 1_000, signal });
  if (left === 0 || signal.aborted) return;
  const connections = left === 1 ? "a connection" : `${left} connections`;
  deps.stderr.write(
    `warning: ${connections} did not end within ${LINGER_SECONDS} s of the command and had to be cut off; what was not taken by then is lost\n`,
  );
}

async function runCommand(
  command: readonly string[],
  kubeconfig: string,
  { deps, interrupts, signal }: CommandContext,
): Promise<number> {
  const [name = "", ...args] = command;
  signal.throwIfAborted();
  const child = spawn(name, args, { stdio: "inherit", env: commandEnvironment(deps.env, kubeconfig) });
  const giveBack = interrupts.take((received) => passOn(child, received, deps.stdin.isTerminal));
  try {
    return await new Promise<number>((resolve, reject) => {
      child.on("error", (cause) => reject(startError(name, cause, deps.env["PATH"])));
      child.once("exit", (code, ended) => resolve(code ?? 128 + (ended === null ? 0 : constants.signals[ended])));
    });
  } finally {
    giveBack();
  }
}

/** Not every client knows by itself that a loopback address needs no proxy. */
function commandEnvironment(env: Environment, kubeconfig: string): NodeJS.ProcessEnv {
  const own = { ...env, KUBECONFIG: kubeconfig };
  if (!PROXIES.some((name) => env[name] || env[name.toLowerCase()])) return own;
  const listed = [env["NO_PROXY"], env["no_proxy"]].find((value) => value !== undefined && value !== "");
  const exempt = [...(listed === undefined ? [] : [listed]), "127.0.0.1", "localhost"].join(",");
  return { ...own, NO_PROXY: exempt, no_proxy: exempt };
}

/** Ctrl-C on a terminal reaches the command by itself; twice would be one too many. */
function passOn(child: ChildProcess, signal: NodeJS.Signals, onTerminal: boolean): void {
  if (!(onTerminal && signal === "SIGINT")) child.kill(signal);
}

function startError(name: string, cause: unknown, path: string | undefined): ConnectError {
  const code = systemCode(cause);
  if (code === "ENOENT") {
    const where = name.includes("/") ? "" : ` in the ${(path ?? "").split(delimiter).length} folders of PATH`;
    return new ConnectError("CC_COMMAND_NOT_FOUND", `There is no command ${name}${where}`, { cause });
  }
  return new ConnectError("CC_COMMAND_NOT_FOUND", `${name} cannot be started: ${code}`, { cause });
}
