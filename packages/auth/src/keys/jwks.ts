import { raceAbort } from "@cluster-connect/base";
import { ConnectError, toConnectError } from "@cluster-connect/protocol";
import { type CryptoKey, createLocalJWKSet, errors } from "jose";
import {
  DOCUMENT_TIMEOUT_MS,
  KEYS_COOLDOWN_MS,
  KEYS_FIRST_COOLDOWN_MS,
  KEYS_FRESH_MS,
  KEYS_KEPT_MS,
  MAX_WAITING_FOR_KEYS,
} from "../limits.ts";
import type { TrustedIssuer } from "../tokens/issuers.ts";
import { fetchKeySet } from "./discovery.ts";
import type { FetchDocument } from "./document.ts";

export interface KeySetOptions {
  /** Age from which keys are fetched again before use. */
  readonly freshMs?: number;
  /** Age up to which they are used while the issuer is down. */
  readonly keptMs?: number;
  /** Shortest time between two fetches. */
  readonly cooldownMs?: number;
  /** Time for discovery document and key set together. */
  readonly timeoutMs?: number;
}

export interface KeySetDeps {
  readonly fetchDocument: FetchDocument;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** The state of one issuer's keys, for metrics and logs. */
export interface KeySetStatus {
  readonly issuer: string;
  readonly fetchedAt?: Date;
  /** Why the last fetch failed; absent when it did not. */
  readonly failure?: ConnectError;
}

/** A token's statements about the key that signed it. */
export interface TokenHeader {
  readonly alg: string;
  readonly kid?: string;
}

/** The public keys of one issuer, fetched when they are needed. */
export interface KeySet {
  /**
   * @throws ConnectError `CC_TOKEN_INVALID` when no key fits the header, `CC_ISSUER_UNREACHABLE` when there are no keys,
   *   `CC_LIMIT_REACHED` when too many tokens with unknown keys wait already.
   */
  key(header: TokenHeader, options: { readonly signal: AbortSignal }): Promise<CryptoKey>;
  /** Fetches the keys if that was not done yet. */
  load(options: { readonly signal: AbortSignal }): Promise<void>;
  status(): KeySetStatus;
}

const DEFAULTS = {
  freshMs: KEYS_FRESH_MS,
  keptMs: KEYS_KEPT_MS,
  cooldownMs: KEYS_COOLDOWN_MS,
  timeoutMs: DOCUMENT_TIMEOUT_MS,
} as const;

type FindKey = ReturnType<typeof createLocalJWKSet>;
interface Fetched {
  readonly find: FindKey;
  readonly at: number;
}

/**
 * Keys are fetched on first use, again when they are no longer fresh, and on a `kid` that is not among them. They are
 * never fetched twice within the cooldown: tokens with invented key ids cannot make us call the issuer.
 */
export function createKeySet(issuer: TrustedIssuer, options: KeySetOptions, deps: KeySetDeps): KeySet {
  const { freshMs, keptMs, cooldownMs, timeoutMs } = { ...DEFAULTS, ...options };
  let fetched: Fetched | undefined;
  let failure: ConnectError | undefined;
  let triedAt = Number.NEGATIVE_INFINITY;
  let pending: Promise<void> | undefined;
  let waiting = 0;

  async function fetchKeys(): Promise<void> {
    triedAt = deps.now();
    try {
      const keys = await fetchKeySet(issuer, { signal: AbortSignal.timeout(timeoutMs) }, deps);
      fetched = { find: createLocalJWKSet(keys), at: triedAt };
      failure = undefined;
    } catch (cause) {
      failure = toConnectError(cause, "CC_ISSUER_UNREACHABLE");
    } finally {
      pending = undefined;
    }
  }

  /** One fetch at a time, shared by all callers that wait; within the cooldown nothing happens. */
  async function refresh(signal: AbortSignal): Promise<void> {
    const pauseMs = fetched === undefined ? Math.min(KEYS_FIRST_COOLDOWN_MS, cooldownMs) : cooldownMs;
    if (pending === undefined && deps.now() - triedAt < pauseMs) return;
    pending ??= fetchKeys();
    await raceAbort(pending, signal);
  }

  /** As refresh, for a token with a key that is not known: any client can make such a token. */
  async function refreshForUnknown(signal: AbortSignal): Promise<void> {
    if (waiting >= MAX_WAITING_FOR_KEYS) {
      throw new ConnectError("CC_LIMIT_REACHED", "Too many tokens wait for new keys of their issuer", {
        retryAfterMs: KEYS_FIRST_COOLDOWN_MS,
      });
    }
    waiting += 1;
    try {
      await refresh(signal);
    } finally {
      waiting -= 1;
    }
  }

  async function usable(signal: AbortSignal): Promise<Fetched> {
    if (fetched === undefined || deps.now() - fetched.at >= freshMs) await refresh(signal);
    if (fetched !== undefined && deps.now() - fetched.at < keptMs) return fetched;
    throw new ConnectError("CC_ISSUER_UNREACHABLE", `There are no keys of the issuer ${issuer.url}`, {
      cause: failure,
      retryAfterMs: cooldownMs,
    });
  }

  return {
    async key(header, { signal }) {
      const keys = await usable(signal);
      const found = await findKey(keys.find, header);
      if (found !== undefined) return found;
      await refreshForUnknown(signal);
      const newer = fetched === undefined || fetched === keys ? undefined : await findKey(fetched.find, header);
      if (newer !== undefined) return newer;
      throw new ConnectError("CC_TOKEN_INVALID", "The token is signed with a key its issuer does not publish (kid)");
    },
    async load({ signal }) {
      await usable(signal);
    },
    status: () => ({
      issuer: issuer.url,
      ...(fetched === undefined ? {} : { fetchedAt: new Date(fetched.at) }),
      ...(failure === undefined ? {} : { failure }),
    }),
  };
}

async function findKey(find: FindKey, header: TokenHeader): Promise<CryptoKey | undefined> {
  try {
    return await find({ ...header });
  } catch (error) {
    if (error instanceof errors.JWKSNoMatchingKey) return undefined;
    if (error instanceof errors.JWKSMultipleMatchingKeys) {
      throw new ConnectError("CC_TOKEN_INVALID", "The token does not say which of its issuer's keys signed it (kid)");
    }
    throw new ConnectError("CC_TOKEN_INVALID", "The issuer's key for this token cannot be used", { cause: error });
  }
}
