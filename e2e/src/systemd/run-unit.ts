import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { makeCgroups } from "../cluster/node/cgroups.ts";
import type { Keeper } from "../process/keeper.ts";
import { definedOnly } from "../process/program-env.ts";
import { runToEnd } from "../process/run-to-end.ts";
import { repositoryFile } from "../stack/repository-file.ts";

/** Observations while systemd ran the relay's unit. */
export interface UnitRun {
  /** The probe's answer, JSON; "" when it did not come to an end. */
  readonly probe: string;
  readonly relayLog: string;
  /** Errors of everything but the relay. */
  readonly errors: string;
}

const PROBE: string = fileURLToPath(new URL("./probe.ts", import.meta.url));
const SYSTEMD = "/lib/systemd/systemd";
const NAMESPACES: readonly string[] = ["--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup"];
/** Becomes a member of the control group in each hierarchy, so that systemd sees it as the root. */
const JOIN = `group=$1; shift
for procs in /sys/fs/cgroup"$group"/cgroup.procs /sys/fs/cgroup/*"$group"/cgroup.procs; do
  if [ -e "$procs" ]; then echo $$ > "$procs" || true; fi
done
exec "$@"`;

/** Why systemd cannot be started beside this machine's own first process; undefined when it can. */
export function missingSystemd(): string | undefined {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return "systemd in a namespace needs Linux and root";
  if (!existsSync(SYSTEMD)) return "systemd is not installed (Debian's package systemd)";
  const tried = spawnSync("unshare", [...NAMESPACES, "--fork", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]);
  return tried.status === 0 ? undefined : "this machine makes no namespaces, or mounts nothing in them";
}

/**
 * Runs `deploy/relay/cluster-connect-relay.service` as it is, by a systemd of its own over a copy of this machine's
 * files.
 *
 * @param work an empty folder.
 */
export async function runRelayUnit(
  work: string,
  options: { readonly signal: AbortSignal },
  deps: { readonly keeper: Keeper },
): Promise<UnitRun> {
  const { name, remove } = await makeCgroups(deps);
  const repository = repositoryFile("");
  const boot = [repositoryFile("e2e/src/systemd/boot.sh"), repository, work, relative(repository, PROBE)];
  const args = ["-c", JOIN, "sh", name, "unshare", ...NAMESPACES, "--fork", "--kill-child", ...boot];
  const done = await runToEnd("sh", args, { env: definedOnly(process.env), ...options });
  await remove();
  const out = (file: string): Promise<string> => readFile(join(work, "out", file), "utf8").catch(() => "");
  return {
    probe: await out("probe.json"),
    relayLog: await out("relay.log"),
    errors: `${done.stderr}${await out("probe.err")}`,
  };
}
