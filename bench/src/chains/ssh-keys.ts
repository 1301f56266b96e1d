import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

/** Files of the keys that daemon and clients of one chain use. */
export interface SshKeys {
  readonly hostKey: string;
  readonly identity: string;
  readonly authorizedKeys: string;
  readonly knownHosts: string;
}

/** Makes keys for one run and writes them into a folder. */
export async function makeSshKeys(folder: string): Promise<SshKeys> {
  const file = (name: string): string => join(folder, name);
  const keys = {
    hostKey: file("host_key"),
    identity: file("identity"),
    authorizedKeys: file("authorized_keys"),
    knownHosts: file("known_hosts"),
  };
  for (const path of [keys.hostKey, keys.identity]) {
    await promisify(execFile)("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", path]);
  }
  await writeFile(keys.authorizedKeys, await readFile(`${keys.identity}.pub`));
  await writeFile(keys.knownHosts, `bench ${await readFile(`${keys.hostKey}.pub`, "utf8")}`);
  return keys;
}
