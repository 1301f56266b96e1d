import type { EntryOptions } from "@napi-rs/keyring";
import type { Environment } from "../../deps.ts";
import type { KeyStore } from "./key-store.ts";

/** Under this name a person finds the entries. */
const SERVICE = "cluster-connect";
/** Not the kernel's keyring, which forgets when the machine restarts. */
const OPTIONS: EntryOptions = { linux: { store: "secret-service" } };

/**
 * The system's store: Keychain, Credential Manager, or the program that answers as Secret Service.
 *
 * @returns undefined on a system without one, or where its binding is not installed. Whether it answers is seen at the
 *   first use.
 */
export async function openOsKeyStore(platform: NodeJS.Platform, env: Environment): Promise<KeyStore | undefined> {
  const name = nameOf(platform, env);
  if (name === undefined) return undefined;
  const keyring = await import("@napi-rs/keyring").catch(() => undefined);
  if (keyring === undefined) return undefined;
  const entry = (account: string): InstanceType<typeof keyring.AsyncEntry> =>
    new keyring.AsyncEntry(SERVICE, account, OPTIONS);
  return {
    name,
    read: async (account, { signal }) => (await entry(account).getPassword(signal)) ?? undefined,
    write: async (account, secret, { signal }) => await entry(account).setPassword(secret, signal),
    remove: async (account, { signal }) => void (await entry(account).deletePassword(signal)),
  };
}

function nameOf(platform: NodeJS.Platform, env: Environment): string | undefined {
  switch (platform) {
    case "darwin":
      return "Keychain";
    case "win32":
      return "Windows Credential Manager";
    case "linux":
      // Without a session bus there is no service to ask.
      return env["DBUS_SESSION_BUS_ADDRESS"] || env["XDG_RUNTIME_DIR"] ? "Secret Service" : undefined;
    default:
      return undefined;
  }
}
