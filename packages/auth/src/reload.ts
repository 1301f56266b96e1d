import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { ConnectError, toConnectError } from "@cluster-connect/protocol";
import { parseAuthenticationConfiguration } from "./authentication-config.ts";
import type { TrustedIssuer } from "./issuers.ts";
import { createKeySet } from "./jwks.ts";
import type { AuthenticationConfigOptions } from "./jwt-authenticator.ts";
import { RELOAD_INTERVAL_MS } from "./limits.ts";
import {
  createVerifierWith,
  type IssuerKeys,
  SYSTEM_VERIFIER_DEPS,
  type TokenVerifier,
  type VerifierDeps,
  type VerifierOptions,
} from "./verify.ts";

/** What a reloading verifier tells its owner, for the log and a metric. */
export type ReloadEvent =
  | { readonly kind: "reloaded"; readonly issuers: readonly string[] }
  /** The old configuration goes on. Told once for each different error. */
  | { readonly kind: "kept"; readonly error: ConnectError };

export interface ReloadOptions extends AuthenticationConfigOptions {
  /** Time between two looks at the file. */
  readonly intervalMs?: number;
  readonly verifier?: VerifierOptions;
  readonly onEvent?: (event: ReloadEvent) => void;
}

export interface ReloadDeps extends VerifierDeps {
  readonly readText: (path: string) => Promise<string>;
  /** Resolves after the time, rejects when the signal aborts. */
  readonly delay: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** A verifier whose issuers follow a file. */
export interface ReloadingVerifier extends TokenVerifier {
  /** Watches the file until the signal aborts, then resolves. The caller owns the promise. */
  watch(options: { readonly signal: AbortSignal }): Promise<void>;
  /** Looks at the file once, now. */
  reload(options: { readonly signal: AbortSignal }): Promise<void>;
}

/** Real files, clock and network. */
export const SYSTEM_RELOAD_DEPS: ReloadDeps = {
  ...SYSTEM_VERIFIER_DEPS,
  readText: (path) => readFile(path, "utf8"),
  delay: (ms, signal) => delay(ms, undefined, { signal }),
};

/**
 * Reads the file and serves it; its issuers need not be reachable yet. A changed file takes over in one step once it is
 * valid and the keys of all issuers that are new in it were fetched; until then the old one goes on. One that was
 * trusted before and cannot be reached goes on with the keys that are known, so that its outage keeps nobody trusted.
 *
 * @throws ConnectError `CC_FILE_MISSING`, `CC_FILE_UNREADABLE` or `CC_CONFIG_INVALID` for the first reading.
 */
export async function createReloadingVerifier(
  path: string,
  options: ReloadOptions = {},
  deps: ReloadDeps = SYSTEM_RELOAD_DEPS,
): Promise<ReloadingVerifier> {
  let text = await readConfigFile(path, deps);
  let trusted = parseAuthenticationConfiguration(text, options).issuers.map(withKeys);
  let current = createVerifierWith(trusted, deps);
  let lastFailure: string | undefined;

  function withKeys(issuer: TrustedIssuer): IssuerKeys {
    return { issuer, keys: createKeySet(issuer, options.verifier ?? {}, deps) };
  }

  /** @throws ConnectError `CC_ISSUER_UNREACHABLE` for an issuer that is new and gives no keys. */
  async function withLoadedKeys(issuer: TrustedIssuer, signal: AbortSignal): Promise<IssuerKeys> {
    const fresh = withKeys(issuer);
    try {
      await fresh.keys.load({ signal });
      return fresh;
    } catch (error) {
      const former = trusted.find((one) => isFetchedAlike(one.issuer, issuer));
      if (signal.aborted || former === undefined) throw error;
      return { issuer, keys: former.keys };
    }
  }

  async function reload({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    try {
      const changed = await readConfigFile(path, deps);
      if (changed !== text) {
        const { issuers } = parseAuthenticationConfiguration(changed, options);
        const next = await Promise.all(issuers.map((issuer) => withLoadedKeys(issuer, signal)));
        [text, trusted, current] = [changed, next, createVerifierWith(next, deps)];
        options.onEvent?.({ kind: "reloaded", issuers: issuers.map(({ url }) => url) });
      }
      lastFailure = undefined;
    } catch (cause) {
      if (signal.aborted) return;
      const error = toConnectError(cause);
      if (error.message !== lastFailure) options.onEvent?.({ kind: "kept", error });
      lastFailure = error.message;
    }
  }

  return {
    verify: (token, verifyOptions) => current.verify(token, verifyOptions),
    load: (loadOptions) => current.load(loadOptions),
    status: () => current.status(),
    reload,
    async watch({ signal }) {
      while (!signal.aborted) {
        await deps.delay(options.intervalMs ?? RELOAD_INTERVAL_MS, signal).catch(ignoreAbort);
        if (!signal.aborted) await reload({ signal });
      }
    },
  };
}

/** Whether both names lead to the same keys. */
function isFetchedAlike(a: TrustedIssuer, b: TrustedIssuer): boolean {
  return a.url === b.url && a.discoveryUrl === b.discoveryUrl && a.certificateAuthority === b.certificateAuthority;
}

/** The loop asks the signal itself. */
function ignoreAbort(): void {}

async function readConfigFile(path: string, deps: ReloadDeps): Promise<string> {
  try {
    return await deps.readText(path);
  } catch (cause) {
    const missing = cause instanceof Error && "code" in cause && cause.code === "ENOENT";
    if (missing) throw new ConnectError("CC_FILE_MISSING", `There is no file ${path}`, { cause });
    throw new ConnectError("CC_FILE_UNREADABLE", `The file ${path} cannot be read`, { cause });
  }
}
