import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { systemCode } from "@cluster-connect/base";
import { ConnectError, toConnectError } from "@cluster-connect/protocol";
import { createKeySet } from "../keys/jwks.ts";
import { RELOAD_INTERVAL_MS } from "../limits.ts";
import type { TrustedIssuer } from "../tokens/issuers.ts";
import {
  createVerifierWith,
  type IssuerKeys,
  SYSTEM_VERIFIER_DEPS,
  type TokenVerifier,
  type VerifierDeps,
  type VerifierOptions,
} from "../tokens/verify.ts";
import { parseAuthenticationConfiguration, parseAuthenticationEntries } from "./authentication-config.ts";
import type { AuthenticationConfigOptions } from "./jwt-authenticator.ts";

/** Events of a reloading verifier for its owner, for the log and a metric. */
export type ReloadEvent =
  | { readonly kind: "reloaded"; readonly issuers: readonly string[] }
  /** A part of the file cannot take over, and its issuers go on as before. Told once for each different error. */
  | { readonly kind: "kept"; readonly error: ConnectError };

export interface ReloadOptions extends AuthenticationConfigOptions {
  /** Time between two looks at the file. */
  readonly intervalMs?: number;
  readonly verifier?: VerifierOptions;
  readonly onEvent?: (event: ReloadEvent) => void;
  /**
   * Judges each audience of a changed file; an issuer with one that is refused goes on as before, as with any other
   * wrong entry. @throws ConnectError to refuse it.
   */
  readonly checkAudience?: (audience: string) => void;
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
 * Reads the file and serves it; its issuers need not be reachable yet.
 *
 * A removal in a changed file counts at once: of an issuer, an audience, a rule. An addition counts as soon as the new
 * issuer's keys were fetched, which is tried at each look. A wrong entry costs nothing but itself: an issuer that was
 * trusted goes on as before. One whose keys cannot be fetched again goes on with those that are known.
 *
 * @throws ConnectError `CC_FILE_MISSING`, `CC_FILE_UNREADABLE` or `CC_CONFIG_INVALID` for the first reading, which has to
 *   be right altogether.
 */
export async function createReloadingVerifier(
  path: string,
  options: ReloadOptions = {},
  deps: ReloadDeps = SYSTEM_RELOAD_DEPS,
): Promise<ReloadingVerifier> {
  let text = await readConfigFile(path, deps);
  let trusted: readonly FollowedIssuer[] = parseAuthenticationConfiguration(text, options).issuers.map(withKeys);
  let current = createVerifierWith(trusted, deps);
  /** Issuers of the file whose keys are still to be fetched. */
  let awaited: readonly TrustedIssuer[] = [];
  /** The faults of entries of the file. */
  let broken: ConnectError | undefined;
  let lastFailure: string | undefined;

  function withKeys(issuer: TrustedIssuer): FollowedIssuer {
    return { issuer, source: issuer, keys: createKeySet(issuer, options.verifier ?? {}, deps) };
  }

  function trust(next: readonly FollowedIssuer[]): void {
    trusted = next;
    current = createVerifierWith(next, deps);
  }

  /** Takes over what needs no keys. */
  function apply(changed: string): void {
    const { issuers: parsed, broken: wrong } = parseAuthenticationEntries(changed, options);
    const refused = new Map(parsed.flatMap((issuer) => refusalOf(issuer, options)));
    const issuers = parsed.filter(({ url }) => !refused.has(url));
    const kept = trusted.filter(({ issuer: { url } }) => wrong?.urls.includes(url) === true || refused.has(url));
    const narrowed = issuers.flatMap((issuer) => {
      const former = trusted.find((one) => one.issuer.url === issuer.url);
      return former === undefined ? [] : [{ ...former, issuer }];
    });
    text = changed;
    awaited = issuers;
    broken = wrong?.error ?? [...refused.values()][0];
    trust([...narrowed, ...kept]);
  }

  /** Fetches the keys of the awaited issuers. @returns why one that is new gives none. */
  async function fetchAwaited(signal: AbortSignal): Promise<ConnectError | undefined> {
    const outcomes = await Promise.all(
      awaited.map(async (issuer) => {
        const fresh = withKeys(issuer);
        try {
          await fresh.keys.load({ signal });
          return { issuer, fresh };
        } catch (error) {
          signal.throwIfAborted();
          const former = trusted.find((one) => isFetchedAlike(one.source, issuer));
          return { issuer, error: former === undefined ? toConnectError(error) : undefined };
        }
      }),
    );
    const fetched = outcomes.flatMap(({ fresh }) => fresh ?? []);
    const urls = new Set(fetched.map(({ issuer }) => issuer.url));
    if (fetched.length > 0) trust([...trusted.filter(({ issuer }) => !urls.has(issuer.url)), ...fetched]);
    awaited = outcomes.flatMap(({ issuer, error }) => (error === undefined ? [] : [issuer]));
    return outcomes.find(({ error }) => error !== undefined)?.error;
  }

  async function reload({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    try {
      const changed = await readConfigFile(path, deps);
      const isNew = changed !== text;
      if (isNew) apply(changed);
      const before = trusted;
      const missing = await fetchAwaited(signal);
      if (isNew || trusted !== before) {
        options.onEvent?.({ kind: "reloaded", issuers: trusted.map(({ issuer }) => issuer.url) });
      }
      const failure = broken ?? missing;
      if (failure !== undefined) throw failure;
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
    holds: (principal) => current.holds(principal),
    reload,
    async watch({ signal }) {
      while (!signal.aborted) {
        await deps.delay(options.intervalMs ?? RELOAD_INTERVAL_MS, signal).catch(ignoreAbort);
        if (!signal.aborted) await reload({ signal });
      }
    },
  };
}

/** An issuer of the file, and from which of its addresses the keys in use were fetched. */
interface FollowedIssuer extends IssuerKeys {
  readonly source: TrustedIssuer;
}

/** The issuer's address with the reason, when one of its audiences is refused. */
function refusalOf(
  { url, audiences }: TrustedIssuer,
  { checkAudience = () => undefined }: ReloadOptions,
): readonly (readonly [url: string, error: ConnectError])[] {
  try {
    for (const audience of audiences) checkAudience(audience);
    return [];
  } catch (error) {
    return [[url, toConnectError(error)]];
  }
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
    if (systemCode(cause) === "ENOENT")
      throw new ConnectError("CC_FILE_MISSING", `There is no file ${path}`, { cause });
    throw new ConnectError("CC_FILE_UNREADABLE", `The file ${path} cannot be read`, { cause });
  }
}
