import { createHash } from "node:crypto";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { ConnectError } from "@cluster-connect/protocol";
import { readTextFileIfAny } from "../files/text-file.ts";
import { formatLoginRecord, type LoginRecord, parseLoginRecord } from "./login-record.ts";

/** Logins kept in files that only this user can read, one for each relay and client. */
export interface TokenCache {
  /** @throws ConnectError `CC_NOT_LOGGED_IN` when what is kept cannot be used. */
  read(key: string): Promise<LoginRecord | undefined>;
  /**
   * Changes a login while no other process does.
   *
   * @param change gets what is kept now, which may be newer than what was read before; the same is not written.
   */
  update(
    key: string,
    options: { readonly signal: AbortSignal },
    change: (current: LoginRecord | undefined) => Promise<LoginRecord>,
  ): Promise<LoginRecord>;
  /** False when there was none. */
  remove(key: string): Promise<boolean>;
  keys(): Promise<readonly string[]>;
}

/** A renewal asks an issuer over the network; whoever comes second waits at least as long as that may take. */
const LOCK_WAIT_MS = 45_000;
const SUFFIX = ".json";

/** Names the login of a relay; of a machine's client when its id is given. */
export function loginKey(relay: string, clientId?: string): string {
  const text = clientId === undefined ? relay : `${relay} ${clientId}`;
  return createHash("sha256").update(text).digest("hex").slice(0, 24);
}

export function createTokenCache(folder: string): TokenCache {
  const pathOf = (key: string): string => join(folder, `${key}${SUFFIX}`);

  async function read(key: string): Promise<LoginRecord | undefined> {
    const text = await readTextFileIfAny(pathOf(key));
    return text === undefined ? undefined : parseLoginRecord(text, pathOf(key));
  }

  return {
    read,
    async update(key, options, change) {
      // Not needed by the most frequent command, which prints a token that is still good.
      const { makePrivateFolder, writePrivateFile } = await import("../files/private-file.ts");
      const { withFileLock } = await import("../files/file-lock.ts");
      await makePrivateFolder(folder);
      const lock = join(folder, `${key}.lock`);
      return await withFileLock(lock, { ...options, waitMs: LOCK_WAIT_MS }, tooLate(lock), async () => {
        const current = await readOrForget(() => read(key));
        const changed = await change(current);
        if (changed !== current) await writePrivateFile(pathOf(key), formatLoginRecord(changed));
        return changed;
      });
    },
    async remove(key) {
      const found = (await readTextFileIfAny(pathOf(key))) !== undefined;
      await rm(pathOf(key), { force: true });
      return found;
    },
    async keys() {
      const names = await readdir(folder).catch(() => []);
      return names.filter((name) => name.endsWith(SUFFIX)).map((name) => name.slice(0, -SUFFIX.length));
    },
  };
}

/** A record that cannot be read is replaced by the next login. */
async function readOrForget(read: () => Promise<LoginRecord | undefined>): Promise<LoginRecord | undefined> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof ConnectError && error.code === "CC_NOT_LOGGED_IN") return undefined;
    throw error;
  }
}

function tooLate(lock: string): (holder: { readonly pid: number | undefined }) => ConnectError {
  return ({ pid }) =>
    new ConnectError("CC_TIMEOUT", `${lock} is held by ${pid === undefined ? "another program" : `process ${pid}`}`, {
      hint: "Wait for the other sign-in or end it; remove the file if no process holds it.",
    });
}
