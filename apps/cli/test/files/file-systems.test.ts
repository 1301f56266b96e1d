import { execFile, spawnSync } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, onTestFinished, test } from "vitest";
import { MAIN } from "../support/cli.ts";
import { startRelay } from "../support/relay.ts";
import { unsignedToken } from "../support/tokens.ts";

/** Real file systems, where this machine lets us mount them: as root on Linux, each in a mount namespace of its own. */
const run = promisify(execFile);
const ADDER = fileURLToPath(new URL("../support/kubeconfig-adder.ts", import.meta.url));
const works = (script: string): boolean =>
  spawnSync("unshare", ["-m", "sh", "-c", script], { stdio: "ignore" }).status === 0;
const canMount = works("mount -t tmpfs none /mnt");
const canFat =
  canMount && works("command -v mkfs.exfat && command -v mount.exfat-fuse && test -e /dev/fuse && losetup -f");

/** Adds an entry to a kubeconfig after a script has prepared the place, in which it runs. */
async function writeAfter(script: string, path: string, folder: string): Promise<string> {
  const command = `${script}\n"$NODE" --conditions=source "$ADDER" "${path}"\ncat "${path}"`;
  const env = { ...process.env, NODE: process.execPath, ADDER };
  const { stdout } = await run("unshare", ["-m", "sh", "-euc", command], { cwd: folder, env });
  return stdout;
}

test.runIf(canMount)("a kubeconfig that is a bind mount of its own is written in place", async () => {
  const folder = await temporaryFolder();
  await writeFile(join(folder, "real"), "apiVersion: v1\nkind: Config\n");
  await writeFile(join(folder, "mounted"), "");
  const seen = await writeAfter("mount --bind real mounted", join(folder, "mounted"), folder);
  expect(seen).toContain("current-context: prod");
  expect(await readFile(join(folder, "real"), "utf8")).toBe(seen);
});

test.runIf(canMount)("a read-only file system is named before anything is written", async () => {
  const folder = await temporaryFolder();
  await mkdir(join(folder, "ro"));
  const script = "mount -t tmpfs none ro; echo 'kind: Config' > ro/config; mount -o remount,ro ro";
  await expect(writeAfter(script, join(folder, "ro/config"), folder)).rejects.toThrow("the file system is read-only");
});

/** A script that mounts an exFAT, which has no hard links, as `fat` in this folder. */
async function fatIn(folder: string): Promise<string> {
  const image = join(folder, "image");
  await mkdir(join(folder, "fat"));
  await run("truncate", ["-s", "8M", image]);
  await run("mkfs.exfat", [image]);
  const device = (await run("losetup", ["-f", "--show", image])).stdout.trim();
  onTestFinished(() => void spawnSync("losetup", ["-d", device]));
  return `mount.exfat-fuse "${device}" fat; trap 'umount fat' EXIT; ! ln fat/. fat/link 2>/dev/null`;
}

test.runIf(canFat)("a kubeconfig on exFAT is changed", async () => {
  const folder = await temporaryFolder();
  const seen = await writeAfter(await fatIn(folder), join(folder, "fat/config"), folder);
  expect(seen).toContain("current-context: prod");
});

test.runIf(canFat)("with home, kubeconfig and temporary files on exFAT every command works", async () => {
  const folder = await temporaryFolder();
  const relay = await startRelay();
  await relay.addCluster("prod");
  const tokens = join(folder, "tokens");
  await writeFile(tokens, unsignedToken());
  await writeFile(`${tokens}-relay`, unsignedToken());
  const given = `--relay "${relay.url}" --token-file "${tokens}" --relay-token-file "${tokens}-relay"`;
  const script = [
    await fatIn(folder),
    "mkdir fat/tmp; export HOME=$PWD/fat TMPDIR=$PWD/fat/tmp; unset KUBECONFIG XDG_CONFIG_HOME XDG_STATE_HOME",
    'cc() { "$NODE" --conditions=source "$MAIN" "$@"; }',
    `cc run -n prod ${given} -- sh -c 'grep server: "$KUBECONFIG"'`,
    `cc kubeconfig add -n prod ${given}`,
    "cc kubeconfig list -o name",
    `cc proxy -n prod --detach --port 0 ${given} -f fat/other`,
    "cc status",
    "cc stop",
    "cc kubeconfig remove --all",
  ].join("\n");
  const env = { ...process.env, ...relay.trusted(), NODE: process.execPath, MAIN };
  const { stdout } = await run("unshare", ["-m", "sh", "-euc", script], { cwd: folder, env });
  expect(stdout).toMatch(/server: https:\/\/127\.0\.0\.1:\d+/);
  expect(stdout).toContain("prod");
});
