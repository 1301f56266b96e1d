import { type Clock, repeat } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import { errorFields, type Logger } from "@cluster-connect/service";
import { type Authority, loadAuthority, readAuthority, writeAuthority } from "./authority.ts";

export interface AuthorityRenewalOptions {
  readonly stateDir: string;
  readonly clusterId: string;
  /** Life of the authority's certificates. */
  readonly seconds: number;
}

/** An authority whose certificate never expires while a process keeps it. */
export interface RenewingAuthority {
  readonly current: () => Authority;
  /** Renews in time and takes over another process's renewal, until the signal is aborted. */
  keep(options: { readonly signal: AbortSignal }): Promise<void>;
}

export interface AuthorityRenewalDeps {
  readonly clock: Clock;
  readonly log: Logger;
  /** Tells clients the authorities that they are to trust. */
  readonly publish: (trustPem: string) => Promise<void>;
}

const POLL_MS = 5_000;
const RETRY_MS = 600_000;
/** Part of a certificate's life after which a serving process renews it. */
const RENEW_AT = 2 / 3;
/** The same for a process that does nothing else, so that it comes first. */
const RENEW_EARLY_AT = 1 / 2;

const due = (authority: Authority, seconds: number, share: number): number =>
  authority.notAfter.getTime() - seconds * 1_000 * (1 - share);

/** Opens the authority of the state folder, makes it where there is none, and publishes it. */
export async function openAuthority(
  options: AuthorityRenewalOptions,
  deps: AuthorityRenewalDeps,
): Promise<RenewingAuthority> {
  const { stateDir, seconds } = options;
  const { clock, log } = deps;
  const now = (): Date => new Date(clock.now());
  let current = await loadAuthority(stateDir, { ...options, now: now() });
  let retryAt = 0;
  await deps.publish(current.trustPem);

  async function take(authority: Authority): Promise<void> {
    if (authority.trustPem === current.trustPem) return;
    await deps.publish(authority.trustPem);
    current = authority;
    const { fingerprint, notAfter } = authority;
    log.info({ event: "authority.renewed", fingerprint, notAfter: notAfter.toISOString() }, "authority renewed");
  }

  async function poll(): Promise<void> {
    const found = await readAuthority(stateDir, now());
    if (found !== undefined) await take(found);
    if (clock.now() < Math.max(due(current, seconds, RENEW_AT), retryAt)) return;
    // A folder that is mounted read-only is written by the cluster's own job, so the file is read all the same.
    retryAt = clock.now() + RETRY_MS;
    await take(await writeAuthority(stateDir, await current.renew({ seconds, now: now() }), now()));
  }

  return {
    current: () => current,
    keep: ({ signal }) =>
      repeat(
        async () => {
          try {
            await poll();
          } catch (error) {
            log.error({ event: "authority.kept", ...errorFields(error) }, "the authority is not renewed");
          }
        },
        { intervalMs: POLL_MS, signal },
        { clock },
      ),
  };
}

/**
 * Makes the state folder's authority where there is none, or renews it when half of its life is over.
 *
 * @returns the action taken, and the authority.
 */
export async function refreshAuthority(
  options: AuthorityRenewalOptions,
  now: Date,
): Promise<{ readonly done: "made" | "renewed" | "kept"; readonly authority: Authority }> {
  const { stateDir, seconds } = options;
  const found = await readAuthority(stateDir, now);
  if (found === undefined) return { done: "made", authority: await loadAuthority(stateDir, { ...options, now }) };
  if (now.getTime() < due(found, seconds, RENEW_EARLY_AT)) return { done: "kept", authority: found };
  if (found.notAfter < now) throw new ConnectError("CC_FILE_UNREADABLE", "stateDir: the authority has expired");
  return { done: "renewed", authority: await writeAuthority(stateDir, await found.renew({ seconds, now }), now) };
}
