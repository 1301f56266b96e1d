import { mkdir, writeFile } from "node:fs/promises";
import { userInfo } from "node:os";
import { join } from "node:path";
import { freePort } from "../process/free-port.ts";
import type { Running } from "../process/processes.ts";
import { withDescendants } from "../process/usage.ts";
import { type Chain, type Ends, type HopName, listening } from "./chain.ts";
import { type ChainOptions, path, type Site } from "./site.ts";
import { makeSshKeys } from "./ssh-keys.ts";

const CIPHER = "aes256-gcm@openssh.com";
/** OpenSSH's own: a daemon of root's does not start without this empty folder. */
const PRIVILEGE_FOLDER = "/run/sshd";
const FAR_HOST = "127.0.0.1";

/** `ssh -L` to an sshd of our own to `ssh -R`. */
export async function startSsh(options: ChainOptions, site: Site): Promise<Chain> {
  const { processes, ends } = site;
  const folder = join(processes.folder, `ssh-${options.rttMs}`);
  await mkdir(folder, { mode: 0o700 });
  const keys = await makeSshKeys(folder);
  if (await makePrivilegeFolder()) processes.ownFolder(PRIVILEGE_FOLDER);
  const sshdPort = await freePort();
  const configPath = join(folder, "sshd_config");
  await writeFile(configPath, daemonConfiguration(sshdPort, keys));
  const sshd = await processes.program("sshd", "/usr/sbin/sshd", ["-D", "-e", "-f", configPath]);
  await listening(sshdPort);
  const inner: Ends = { quiet: await freePort(), bulk: await freePort() };
  const far = await dial("far", sshdPort, [
    "-R",
    forward(inner.quiet, ends.quiet),
    "-R",
    forward(inner.bulk, ends.bulk),
  ]);
  await Promise.all([listening(inner.quiet), listening(inner.bulk)]);
  const ports: Ends = { quiet: await freePort(), bulk: await freePort() };
  const nearTo = await path(sshdPort, options, site);
  const near = await dial("near", nearTo, [
    "-L",
    forward(ports.quiet, inner.quiet),
    "-L",
    forward(ports.bulk, inner.bulk),
  ]);
  await Promise.all([listening(ports.quiet), listening(ports.bulk)]);
  const hops: Readonly<Record<HopName, Running>> = { near, middle: sshd, far };

  function dial(name: string, port: number, forwards: readonly string[]): Promise<Running> {
    const settings = { ...CLIENT, Port: port, IdentityFile: keys.identity, UserKnownHostsFile: keys.knownHosts };
    const flags = Object.entries(settings).flatMap(([key, value]) => ["-o", `${key}=${value}`]);
    const target = `${userInfo().username}@${FAR_HOST}`;
    return processes.program(`ssh-${name}`, "ssh", ["-N", "-T", "-F", "none", ...flags, ...forwards, target]);
  }

  return {
    name: "ssh aes256-gcm",
    ports,
    hops: { near, far },
    // Each of the two connections has a process of its own below the daemon.
    pids: async (hop) => (hop === "middle" ? await withDescendants(sshd.pid) : [hops[hop].pid]),
    async stop() {
      await Promise.all([near.stop(), far.stop()]);
      await sshd.stop();
    },
  };
}

const CLIENT = {
  BatchMode: "yes",
  Ciphers: CIPHER,
  Compression: "no",
  ExitOnForwardFailure: "yes",
  HostKeyAlias: "bench",
  IdentitiesOnly: "yes",
  IdentityAgent: "none",
  StrictHostKeyChecking: "yes",
} as const;

function forward(from: number, to: number): string {
  return `${FAR_HOST}:${from}:${FAR_HOST}:${to}`;
}

function daemonConfiguration(
  port: number,
  keys: { readonly hostKey: string; readonly authorizedKeys: string },
): string {
  return [
    `Port ${port}`,
    `ListenAddress ${FAR_HOST}`,
    `HostKey ${keys.hostKey}`,
    `AuthorizedKeysFile ${keys.authorizedKeys}`,
    `Ciphers ${CIPHER}`,
    "AuthenticationMethods publickey",
    "PermitRootLogin prohibit-password",
    "AllowTcpForwarding yes",
    "PidFile none",
    "StrictModes no",
    "UsePAM no",
    "MaxSessions 10000",
    "",
  ].join("\n");
}

/** @returns whether it was missing. */
async function makePrivilegeFolder(): Promise<boolean> {
  if (userInfo().uid !== 0) return false;
  return await mkdir(PRIVILEGE_FOLDER, { mode: 0o755 }).then(
    () => true,
    () => false,
  );
}
