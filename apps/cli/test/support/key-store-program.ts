/** Keeps or reads a login with the key store of the session it runs in: `key-store-program.ts write|read`. */
import { homedir } from "node:os";
import { openTokenCache } from "../../src/tokens/choose-tokens.ts";
import { openOsKeyStore } from "../../src/tokens/vault/os-key-store.ts";

const { env, platform } = process;
const cache = openTokenCache({ env, homeDir: homedir(), openKeyStore: () => openOsKeyStore(platform, env) });
const options = { signal: AbortSignal.timeout(20_000) };
if (process.argv[2] === "write") {
  const kept = await cache.put("k", options, {
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
  });
  process.stdout.write(`kept with ${kept.keyStore ?? "file"}\n`);
} else {
  process.stdout.write(`read ${(await cache.read("k", options))?.name}\n`);
}
