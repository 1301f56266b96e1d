import { type ChildProcess, spawn } from "node:child_process";
import { rm } from "node:fs/promises";
import { constants, tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { ConnectError } from "@cluster-connect/protocol";
import { requireNames } from "../clusters/find.ts";
import { openWay, type Way } from "../clusters/way.ts";
import { systemCode } from "../files/system-error.ts";
import { createWorkFolder, sweepWorkFolders } from "../files/work-folder.ts";
import { entryName, type KubeconfigEntry } from "../kubeconfig/entry.ts";
import { changeKubeconfig } from "../kubeconfig/file.ts";
import { createScreen } from "../screen.ts";
import { chooseRelay, type RelayFlags } from "../settings/relay-choice.ts";
import { chooseTokens } from "../tokens/choose-tokens.ts";
import { findGivenTokens, type TokenFlags } from "../tokens/token-flags.ts";
import { credentialCommand } from "./command-tokens.ts";
import type { CommandContext } from "./context.ts";

export interface RunFlags extends RelayFlags, TokenFlags {
  readonly name?: readonly string[];
  readonly resourceGroup?: string;
  readonly wait: number;
  readonly verbose?: boolean;
}

const PREFIX = "cluster-connect-run-";

/**
 * Runs a command with a private kubeconfig that leads to clusters, and removes everything afterwards.
 *
 * @returns the command's exit code, or 128 and the number of the signal that ended it.
 */
export async function run(flags: RunFlags, command: readonly string[], context: CommandContext): Promise<number> {
  const { deps, signal } = context;
  const names = requireNames(flags.name);
  const relay = await chooseRelay(flags, deps);
  const given = await findGivenTokens(flags, deps);
  const base = deps.env["TMPDIR"] ?? tmpdir();
  await sweepWorkFolders(base, PREFIX);
  const folder = await createWorkFolder(base, PREFIX, deps.pid);
  const end = new AbortController();
  let way: Way | undefined;
  try {
    const credential = await credentialCommand(relay, given, folder, deps);
    way = await openWay(
      {
        relay,
        names,
        group: flags.resourceGroup,
        port: 0,
        waitMs: flags.wait * 1_000,
        signal: AbortSignal.any([signal, end.signal]),
      },
      // The command owns the terminal: only what is wrong is said, unless asked.
      {
        cli: deps,
        tokens: chooseTokens(relay.url, given, deps),
        screen: createScreen(deps, { quiet: flags.verbose !== true }),
      },
    );
    const { port } = way;
    const entries = way.clusters.map(
      ({ cluster, trust }): KubeconfigEntry => ({
        name: entryName(relay.url, cluster.id),
        context: cluster.id,
        port,
        serverName: cluster.serverName,
        authorities: trust.authorities.pem,
        credential,
      }),
    );
    const kubeconfig = join(folder, "kubeconfig");
    await changeKubeconfig(kubeconfig, { signal }, (document) => document.add(entries));
    return await runCommand(command, kubeconfig, context);
  } finally {
    end.abort(new ConnectError("CC_CANCELLED", "The command has ended"));
    await way?.closed;
    await rm(folder, { recursive: true, force: true });
  }
}

async function runCommand(
  command: readonly string[],
  kubeconfig: string,
  { deps, interrupts, signal }: CommandContext,
): Promise<number> {
  const [name = "", ...args] = command;
  signal.throwIfAborted();
  const child = spawn(name, args, { stdio: "inherit", env: { ...deps.env, KUBECONFIG: kubeconfig } });
  const giveBack = interrupts.take((received) => passOn(child, received, deps.stdin.isTerminal));
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once("error", (cause) => reject(startError(name, cause, deps.env["PATH"])));
      child.once("exit", (code, ended) => resolve(code ?? 128 + (ended === null ? 0 : constants.signals[ended])));
    });
  } finally {
    giveBack();
  }
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
