import type { KeyStore } from "../../src/tokens/vault/key-store.ts";

/** A key store in this process, which can be locked. */
export interface MemoryKeyStore extends KeyStore {
  readonly entries: Map<string, string>;
  locked: boolean;
}

export function memoryKeyStore(): MemoryKeyStore {
  const entries = new Map<string, string>();
  const check = (): void => {
    if (store.locked) throw new Error("locked");
  };
  const store: MemoryKeyStore = {
    name: "test key store",
    entries,
    locked: false,
    async read(account) {
      check();
      return entries.get(account);
    },
    async write(account, secret) {
      check();
      entries.set(account, secret);
    },
    async remove(account) {
      check();
      entries.delete(account);
    },
  };
  return store;
}
