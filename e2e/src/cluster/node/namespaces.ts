import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ConnectError } from "@cluster-connect/protocol";
import type { Keeper, Program } from "../../process/keeper.ts";
import { waitForLogText } from "../../process/log-events.ts";
import type { ProgramSpec } from "../../process/messages.ts";
import { type RunResult, runToEnd } from "../../process/run-to-end.ts";
import { NODE_PATH } from "./prerequisites.ts";

/**
 * Process, mount and network namespaces that a node runs in.
 *
 * The kernel ends every process in them with their first one. It takes down their mounts, interfaces and packet filter
 * rules with the last. So nothing of a node can stay, however it ends.
 */
export interface Namespaces {
  /** The process that stands for them, as seen from outside. */
  readonly program: Program;
  /** Starts a program inside. */
  start(spec: Pick<ProgramSpec, "name" | "command" | "args">): Promise<Program>;
  /** Runs a command inside to its end; a code other than 0 is an error. */
  run(command: string, args: readonly string[]): Promise<string>;
}

/** How to make namespaces. */
export interface NamespacesOptions {
  /** An existing folder, neither below /run nor below /var: those are made anew inside. */
  readonly folder: string;
  readonly signal: AbortSignal;
}

const READY = "namespaces are ready";
const HIDDEN: readonly string[] = ["/run/", "/var/"];

/** Settings that a kubelet would make for the whole machine; it finds them made, and changes nothing. */
const KERNEL: Readonly<Record<string, number>> = {
  "vm/overcommit_memory": 1,
  "vm/panic_on_oom": 0,
  "kernel/panic": 10,
  "kernel/panic_on_oops": 1,
  "kernel/keys/root_maxkeys": 1_000_000,
  "kernel/keys/root_maxbytes": 25_000_000,
};

/** The first process: prepares the namespaces, then reaps processes that others leave until it is told to end. */
const INIT = `set -eu
trap 'exit 0' TERM
mount --make-rshared /
mkdir -p "$1/var-changes" "$1/var-work"
mount -t overlay -o "lowerdir=/var,upperdir=$1/var-changes,workdir=$1/var-work" overlay /var
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/lock /run/kernel
${Object.entries(KERNEL)
  .map(
    ([name, value], index) =>
      `echo ${value} > /run/kernel/${index}; mount --bind /run/kernel/${index} /proc/sys/${name}`,
  )
  .join("\n")}
ip link set lo up
echo 1 > /proc/sys/net/ipv4/ip_forward
echo "${READY}"
while :; do sleep 86400 & wait $!; done
`;

const env = { PATH: NODE_PATH, HOME: "/root" } as const;

/**
 * Makes the namespaces and resolves when programs can be started in them.
 *
 * They end with the keeper, too, should it be killed.
 *
 * @throws ConnectError `CC_KUBERNETES_UNAVAILABLE` when `folder` would be hidden inside.
 */
export async function makeNamespaces(
  options: NamespacesOptions,
  deps: { readonly keeper: Keeper },
): Promise<Namespaces> {
  const { folder, signal } = options;
  if (HIDDEN.some((path) => `${folder}/`.startsWith(path))) {
    throw new ConnectError("CC_KUBERNETES_UNAVAILABLE", `A node cannot have its files in ${folder}`, {
      hint: "Set TMPDIR to a folder that is neither below /run nor below /var, then repeat the command.",
    });
  }
  const script = join(folder, "namespaces.sh");
  await writeFile(script, INIT, { mode: 0o600 });
  const log = (name: string): string => join(folder, `${name}.log`);
  const unshare = ["unshare", "--kill-child", "--fork", "--pid", "--mount-proc", "--mount", "--net", "--uts"];
  const program = await deps.keeper.start({
    name: "namespaces",
    command: "setpriv",
    args: ["--pdeathsig", "KILL", ...unshare, "--propagation", "private", "sh", script, folder],
    env,
    cwd: "/",
    logPath: log("namespaces"),
  });
  await waitForLogText(program, new RegExp(READY), { signal });
  const { pid } = program;
  const enter = ["-t", String(pid), "--mount", "--net", "--uts", `--pid=/proc/${pid}/ns/pid_for_children`, "--"];
  return {
    program,
    start: ({ name, command, args }) =>
      deps.keeper.start({
        name,
        command: "nsenter",
        args: [...enter, command, ...args],
        env,
        cwd: "/",
        logPath: log(name),
      }),
    run: async (command, args) =>
      expectSuccess(command, await runToEnd("nsenter", [...enter, command, ...args], { env, signal })),
  };
}

/** @throws ConnectError `CC_KUBERNETES_UNAVAILABLE` with the command's last line when it failed. */
export function expectSuccess(command: string, result: RunResult): string {
  if (result.code === 0) return result.stdout;
  const last = result.stderr.trim().split("\n").at(-1) ?? "";
  throw new ConnectError("CC_KUBERNETES_UNAVAILABLE", `${command} ended with ${result.code}: ${last}`);
}
