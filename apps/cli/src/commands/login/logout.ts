import type { CliDeps } from "../../deps.ts";
import { chooseRelay, type RelayFlags } from "../../relay/choice.ts";
import { openTokenCache } from "../../tokens/choose-tokens.ts";
import { loginKey } from "../../tokens/vault/token-cache.ts";
import type { CommandContext } from "../context.ts";

export interface LogoutFlags extends RelayFlags {
  /** Forgets every login, not only the chosen relay's. */
  readonly all?: boolean;
}

/** Forgets kept tokens, and takes the refresh token back at the issuer where it offers that. */
export async function logout(flags: LogoutFlags, { deps, signal }: CommandContext): Promise<void> {
  const cache = openTokenCache(deps);
  const keys = flags.all === true ? await cache.keys() : [await chosenKey(flags, deps)];
  let removed = 0;
  for (const key of keys) {
    const record = await cache.read(key, { signal }).catch(() => undefined);
    if (await cache.remove(key, { signal })) removed += 1;
    if (record?.refreshToken === undefined) continue;
    const { revokeLogin } = await import("../../login/revoke.ts");
    if (!(await revokeLogin(record, record.refreshToken, { signal }, deps))) {
      deps.stderr.write(`warning: ${record.settings.issuer} did not take the login back; it ends by itself there\n`);
    }
  }
  deps.stderr.write(removed === 0 ? "There was no login.\n" : "Logged out.\n");
}

async function chosenKey(flags: RelayFlags, deps: CliDeps): Promise<string> {
  const { url } = await chooseRelay(flags, deps, { withoutAuthorities: true });
  return loginKey(url.origin);
}
