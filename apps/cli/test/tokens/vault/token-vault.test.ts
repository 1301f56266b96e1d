import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import fc from "fast-check";
import { expect, test } from "vitest";
import { openTokenCache } from "../../../src/tokens/choose-tokens.ts";
import type { LoginRecord } from "../../../src/tokens/login/login-record.ts";
import type { TokenCache } from "../../../src/tokens/vault/token-cache.ts";
import {
  formatSealed,
  IV_BYTES,
  KEY_BYTES,
  openText,
  parseSealed,
  sealText,
} from "../../../src/tokens/vault/token-seal.ts";
import { testCli } from "../../support/cli.ts";
import { type MemoryKeyStore, memoryKeyStore } from "../../support/memory-key-store.ts";

const NO_END = { signal: new AbortController().signal };
const RECORD: LoginRecord = {
  relay: "https://relay.test",
  settings: {
    issuer: "https://issuer.test",
    clientId: "cli",
    scopes: [],
    audiences: { relay: "relay", cluster: "cluster" },
    resourceParameter: "resource",
  },
  name: "jane",
  refreshToken: "secret-refresh-token",
  tokens: {},
};

interface Stage {
  readonly home: string;
  readonly store: MemoryKeyStore;
  readonly cache: TokenCache;
  file(key?: string): string;
}

async function stage(env: Readonly<Record<string, string>> = {}): Promise<Stage> {
  const home = await temporaryFolder();
  const store = memoryKeyStore();
  const cache = openTokenCache({ env, homeDir: home, openKeyStore: async () => store });
  return { home, store, cache, file: (key = "k") => join(home, ".local/state/cluster-connect/logins", `${key}.json`) };
}

test("with a key store the file shows nothing of the login, and the store holds only a key", async () => {
  const { store, cache, file } = await stage();
  const kept = await cache.put("k", NO_END, RECORD);
  expect(kept.keyStore).toBe("test key store");
  const content = await readFile(file(), "utf8");
  expect(content).not.toContain("secret-refresh-token");
  expect(content).not.toContain("jane");
  expect([...store.entries.values()].join()).toMatch(/^[A-Za-z0-9+/=]{44}$/);
  expect(await cache.read("k", NO_END)).toEqual(RECORD);
});

test("a renewal keeps the key, a new login makes a new one, and a logout leaves none behind", async () => {
  const { store, cache } = await stage();
  await cache.put("k", NO_END, RECORD);
  const first = [...store.entries];
  await cache.update("k", NO_END, async () => ({ ...RECORD, refreshToken: "another" }));
  expect([...store.entries]).toEqual(first);
  await cache.put("k", NO_END, RECORD);
  expect(store.entries.size).toBe(1);
  expect([...store.entries]).not.toEqual(first);
  expect(await cache.remove("k", NO_END)).toBe(true);
  expect(store.entries.size).toBe(0);
});

test.for(["auto", "file"] as const)(
  "%s keeps a login in the file alone where there is no key store",
  async (choice) => {
    const { store, cache, file } = await stage({ CLUSTER_CONNECT_TOKEN_STORE: choice });
    store.locked = true;
    expect(await cache.put("k", NO_END, RECORD)).toEqual({ path: file(), keyStore: undefined });
    expect(await readFile(file(), "utf8")).toContain("secret-refresh-token");
    expect(await cache.read("k", NO_END)).toEqual(RECORD);
  },
);

test("file leaves an open key store alone", async () => {
  const { store, cache } = await stage({ CLUSTER_CONNECT_TOKEN_STORE: "file" });
  await cache.put("k", NO_END, RECORD);
  expect(store.entries.size).toBe(0);
});

test("keyring keeps nothing where there is no key store", async () => {
  const { store, cache, file } = await stage({ CLUSTER_CONNECT_TOKEN_STORE: "keyring" });
  store.locked = true;
  await expect(cache.put("k", NO_END, RECORD)).rejects.toMatchObject({ code: "CC_KEY_STORE_UNAVAILABLE" });
  await expect(readFile(file())).rejects.toMatchObject({ code: "ENOENT" });
});

test("a locked key store is no login that ran out, and the login is there again when it is unlocked", async () => {
  const { store, cache } = await stage();
  await cache.put("k", NO_END, RECORD);
  store.locked = true;
  await expect(cache.read("k", NO_END)).rejects.toMatchObject({ code: "CC_KEY_STORE_UNAVAILABLE" });
  await expect(cache.update("k", NO_END, async () => RECORD)).rejects.toMatchObject({
    code: "CC_KEY_STORE_UNAVAILABLE",
  });
  store.locked = false;
  expect(await cache.read("k", NO_END)).toEqual(RECORD);
});

test("a key that was removed, a changed file and another login's file are logins that cannot be used", async () => {
  const { store, cache, file } = await stage();
  await cache.put("k", NO_END, RECORD);
  const content = await readFile(file(), "utf8");
  const unusable = { code: "CC_NOT_LOGGED_IN", message: expect.stringContaining("cannot be used") };
  await writeFile(file("other"), content);
  await expect(cache.read("other", NO_END)).rejects.toMatchObject(unusable);
  await writeFile(file(), content.replace(/"text": "./, '"text": "_'));
  await expect(cache.read("k", NO_END)).rejects.toMatchObject(unusable);
  await writeFile(file(), content);
  store.entries.clear();
  await expect(cache.read("k", NO_END)).rejects.toMatchObject(unusable);
});

test("logging in again replaces a login whose key is gone", async () => {
  const { home, store, cache } = await stage();
  await cache.put("k", NO_END, RECORD);
  store.entries.clear();
  await cache.put("k", NO_END, RECORD);
  expect(await cache.read("k", NO_END)).toEqual(RECORD);
  expect(await readdir(join(home, ".local/state/cluster-connect/logins"))).toEqual(["k.json"]);
});

test("a choice that is none is named with the ones there are", async () => {
  const cli = testCli(await temporaryFolder(), { env: { CLUSTER_CONNECT_TOKEN_STORE: "vault" } });
  expect(await cli.run("credential", "--relay", "https://relay.test")).toBe(2);
  expect(cli.err()).toContain("CLUSTER_CONNECT_TOKEN_STORE is none of auto, file, keyring (CC_USAGE)");
});

const bytes = (length: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: length, maxLength: length });

test("what is sealed opens with its key for its own login, and with nothing else", () => {
  fc.assert(
    fc.property(
      fc.string(),
      fc.string(),
      bytes(KEY_BYTES),
      bytes(IV_BYTES),
      fc.string(),
      (text, about, key, iv, other) => {
        const sealed = sealText(text, about, key, iv, { store: "s", account: "a" });
        const read = parseSealed(formatSealed(sealed));
        expect(read).toEqual(sealed);
        expect(openText(sealed, about, key)).toBe(text);
        if (other !== about) expect(openText(sealed, other, key)).toBeUndefined();
        const wrong = Uint8Array.from(key, (byte, at) => (at === 0 ? byte ^ 1 : byte));
        expect(openText(sealed, about, wrong)).toBeUndefined();
      },
    ),
  );
});

test("whatever a file holds, reading it as sealed text does not fail", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.json().map((json) => `{\n "sealed": ${json}}`),
      ),
      (content) => {
        const sealed = parseSealed(content);
        if (sealed !== undefined) expect(openText(sealed, "k", new Uint8Array(KEY_BYTES))).toBeUndefined();
      },
    ),
  );
});
