import { randomBytes } from "node:crypto";
import { raceAbort } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import type { CliDeps, Environment } from "../../deps.ts";
import type { KeyStore } from "./key-store.ts";
import { formatSealed, IV_BYTES, KEY_BYTES, openText, parseSealed, type SealedText, sealText } from "./token-seal.ts";

/** Where new logins are kept: `auto` takes the system's key store where one answers, else the file alone. */
export type TokenStoreChoice = "auto" | "file" | "keyring";

/** The form of a login in its file: as it is, or sealed with a key that the system's key store keeps. */
export interface TokenVault {
  /**
   * @param name of the login, which its key belongs to.
   * @throws ConnectError `CC_KEY_STORE_UNAVAILABLE`, `CC_NOT_LOGGED_IN` when the key is gone or the file was changed.
   */
  open(content: string, name: string, options: { readonly signal: AbortSignal }): Promise<string>;
  /**
   * @param previous content of the file that is replaced: it stays as it is kept. Undefined: as is chosen now.
   * @throws ConnectError `CC_KEY_STORE_UNAVAILABLE` when the choice is `keyring`.
   */
  seal(
    text: string,
    name: string,
    previous: string | undefined,
    options: { readonly signal: AbortSignal },
  ): Promise<string>;
  /** Removes the key of a file that is gone; a key that cannot be removed is of no use. */
  forget(content: string, options: { readonly signal: AbortSignal }): Promise<void>;
}

type VaultDeps = Pick<CliDeps, "openKeyStore">;

/** A person may have to unlock the store first. */
const TIMEOUT_MS = 60_000;
const CHOICES: readonly TokenStoreChoice[] = ["auto", "file", "keyring"];

/**
 * Reads `CLUSTER_CONNECT_TOKEN_STORE`.
 *
 * @throws ConnectError `CC_USAGE`.
 */
export function tokenStoreChoice(env: Environment): TokenStoreChoice {
  const value = env["CLUSTER_CONNECT_TOKEN_STORE"] || "auto";
  const found = CHOICES.find((choice) => choice === value);
  if (found !== undefined) return found;
  throw new ConnectError("CC_USAGE", `CLUSTER_CONNECT_TOKEN_STORE is none of ${CHOICES.join(", ")}`);
}

/** The key store that a file's content needs; undefined when it can be read without. */
export function storeOf(content: string): string | undefined {
  return parseSealed(content)?.store;
}

export function createTokenVault(choice: TokenStoreChoice, deps: VaultDeps): TokenVault {
  async function withStore<T>(
    storeName: string,
    options: { readonly signal: AbortSignal },
    use: (store: KeyStore, options: { readonly signal: AbortSignal }) => Promise<T>,
  ): Promise<T> {
    const store = await deps.openKeyStore();
    if (store === undefined) throw unavailable(storeName, undefined);
    const signal = AbortSignal.any([options.signal, AbortSignal.timeout(TIMEOUT_MS)]);
    try {
      return await raceAbort(use(store, { signal }), signal);
    } catch (cause) {
      options.signal.throwIfAborted();
      throw unavailable(store.name, cause);
    }
  }

  async function keyOf(sealed: SealedText, name: string, options: { readonly signal: AbortSignal }): Promise<Buffer> {
    const found = await withStore(sealed.store, options, (store, more) => store.read(sealed.account, more));
    const key = Buffer.from(found ?? "", "base64");
    if (key.length !== KEY_BYTES) throw unusable(name, `its key is gone from the ${sealed.store}`);
    return key;
  }

  async function sealNew(text: string, name: string, options: { readonly signal: AbortSignal }): Promise<string> {
    const key = randomBytes(KEY_BYTES);
    const account = `${name}-${randomBytes(6).toString("hex")}`;
    const secret = key.toString("base64");
    const store = await withStore("key store", options, async (found, more) => {
      await found.write(account, secret, more);
      // Some stores take what they cannot give back, for example while they are locked.
      if ((await found.read(account, more)) !== secret) throw new Error("the store did not keep the key");
      return found.name;
    });
    return formatSealed(sealText(text, name, key, randomBytes(IV_BYTES), { store, account }));
  }

  return {
    async open(content, name, options) {
      const sealed = parseSealed(content);
      if (sealed === undefined) return content;
      const text = openText(sealed, name, await keyOf(sealed, name, options));
      if (text === undefined) throw unusable(name, "it was changed, or belongs to another key");
      return text;
    },
    async seal(text, name, previous, options) {
      const sealed = previous === undefined ? undefined : parseSealed(previous);
      if (sealed !== undefined) {
        const { store, account } = sealed;
        const key = await keyOf(sealed, name, options);
        return formatSealed(sealText(text, name, key, randomBytes(IV_BYTES), { store, account }));
      }
      if (previous !== undefined || choice === "file") return text;
      if (choice === "keyring") return await sealNew(text, name, options);
      return await sealNew(text, name, options).catch(() => {
        options.signal.throwIfAborted();
        return text;
      });
    },
    async forget(content, options) {
      const sealed = parseSealed(content);
      if (sealed === undefined) return;
      await withStore(sealed.store, options, (store, more) => store.remove(sealed.account, more)).catch(() => {});
    },
  };
}

function unavailable(store: string, cause: unknown): ConnectError {
  return new ConnectError("CC_KEY_STORE_UNAVAILABLE", `The ${store} does not give the key that protects your login`, {
    cause,
  });
}

function unusable(name: string, reason: string): ConnectError {
  return new ConnectError("CC_NOT_LOGGED_IN", `The kept login ${name} cannot be used: ${reason}`);
}
