import { createHash } from "node:crypto";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { ConnectError } from "@cluster-connect/protocol";
import { fileError } from "../../files/file-error.ts";
import { readTextFileIfAny } from "../../files/text-file.ts";
import { formatLoginRecord, type LoginRecord, parseLoginRecord } from "../login/login-record.ts";
import { storeOf, type TokenVault } from "./token-vault.ts";

/** Logins kept in files that only this user can read, one for each relay and client. */
export interface TokenCache {
  /** @throws ConnectError `CC_NOT_LOGGED_IN` when what is kept cannot be used. */
  read(key: string, options: { readonly signal: AbortSignal }): Promise<LoginRecord | undefined>;
  /**
   * Changes a login while no other process does.
   *
   * @param options `waitMs`: how long another process is waited for, milliseconds; at least as long as a renewal takes
   *   unless given.
   * @param change gets the record that is kept now, which may be newer than the one read before. The same record is not
   *   written.
   * @throws ConnectError `CC_TIMEOUT` when another process does not end in time.
   */
  update(
    key: string,
    options: { readonly signal: AbortSignal; readonly waitMs?: number },
    change: (current: LoginRecord | undefined) => Promise<LoginRecord>,
  ): Promise<LoginRecord>;
  /** Keeps a new login in place of an old one, in the way that is chosen now, and says how. */
  put(key: string, options: { readonly signal: AbortSignal }, record: LoginRecord): Promise<KeptHow>;
  /** False when there was none. */
  remove(key: string, options: { readonly signal: AbortSignal }): Promise<boolean>;
  /** Of every login. */
  howKept(): Promise<readonly KeptHow[]>;
  keys(): Promise<readonly string[]>;
}

/** Where a login is: in a file that only this user can read, whose key a key store may hold. */
export interface KeptHow {
  readonly path: string;
  readonly keyStore: string | undefined;
}

interface CacheOptions {
  readonly signal: AbortSignal;
  readonly waitMs?: number;
}

/** A renewal asks an issuer over the network; a second process waits at least as long as that may take. */
const LOCK_WAIT_MS = 45_000;
const SUFFIX = ".json";

/** Names the login of a relay; of a machine's client when its id is given. */
export function loginKey(relay: string, clientId?: string): string {
  const text = clientId === undefined ? relay : `${relay} ${clientId}`;
  return createHash("sha256").update(text).digest("hex").slice(0, 24);
}

export function createTokenCache(folder: string, vault: TokenVault): TokenCache {
  const pathOf = (key: string): string => join(folder, `${key}${SUFFIX}`);

  async function parse(key: string, content: string, options: CacheOptions): Promise<LoginRecord> {
    return parseLoginRecord(await vault.open(content, key, options), pathOf(key));
  }

  async function read(key: string, options: CacheOptions): Promise<LoginRecord | undefined> {
    const content = await readTextFileIfAny(pathOf(key));
    return content === undefined ? undefined : await parse(key, content, options);
  }

  async function write(
    key: string,
    record: LoginRecord,
    previous: string | undefined,
    options: CacheOptions,
  ): Promise<KeptHow> {
    const { writePrivateFile } = await import("../../files/private-file.ts");
    const content = await vault.seal(formatLoginRecord(record), key, previous, options);
    await writePrivateFile(pathOf(key), content);
    return { path: pathOf(key), keyStore: storeOf(content) };
  }

  async function locked<T>(key: string, options: CacheOptions, work: () => Promise<T>): Promise<T> {
    // Not needed by the most frequent command, which prints a token that is still good.
    const { makePrivateFolder } = await import("../../files/private-file.ts");
    const { withFileLock } = await import("../../files/file-lock.ts");
    await makePrivateFolder(folder);
    const lock = join(folder, `${key}.lock`);
    return await withFileLock(lock, { waitMs: LOCK_WAIT_MS, ...options }, tooLate(lock), work);
  }

  async function keys(): Promise<readonly string[]> {
    const names = await readdir(folder).catch(() => []);
    return names.filter((name) => name.endsWith(SUFFIX)).map((name) => name.slice(0, -SUFFIX.length));
  }

  return {
    read,
    keys,
    update: (key, options, change) =>
      locked(key, options, async () => {
        const content = await readTextFileIfAny(pathOf(key));
        const current = content === undefined ? undefined : await orForgotten(parse(key, content, options));
        const changed = await change(current);
        // A record that could not be read is kept anew, as is chosen now.
        if (changed !== current) await write(key, changed, current === undefined ? undefined : content, options);
        return changed;
      }),
    put: (key, options, record) =>
      locked(key, options, async () => {
        const before = await readTextFileIfAny(pathOf(key));
        const how = await write(key, record, undefined, options);
        if (before !== undefined) await vault.forget(before, options);
        return how;
      }),
    async remove(key, options) {
      const content = await readTextFileIfAny(pathOf(key));
      await rm(pathOf(key), { force: true }).catch((cause: unknown) => {
        throw fileError(pathOf(key), "removed", cause);
      });
      if (content !== undefined) await vault.forget(content, options);
      return content !== undefined;
    },
    async howKept() {
      const found: KeptHow[] = [];
      for (const key of await keys()) {
        const content = await readTextFileIfAny(pathOf(key));
        if (content !== undefined) found.push({ path: pathOf(key), keyStore: storeOf(content) });
      }
      return found;
    },
  };
}

/** A record that cannot be read is replaced by the next login. */
async function orForgotten(reading: Promise<LoginRecord>): Promise<LoginRecord | undefined> {
  try {
    return await reading;
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
