import { onAbort } from "@cluster-connect/base";
import { createBackoff } from "@cluster-connect/framing";
import type { ClusterId } from "@cluster-connect/protocol";
import { ERRORS, toConnectError } from "@cluster-connect/protocol";
import type { CliDeps } from "../../deps.ts";
import type { CallerTokens, Purpose } from "../caller-tokens.ts";
import { dueAt, type StoredToken } from "../stored-token.ts";

type RenewalDeps = Pick<CliDeps, "clock" | "now" | "random">;

/** While the issuer fails: as often as a person would wish, and no more than the issuer can bear. */
const BACKOFF = { baseDelayMs: 1_000, maxDelayMs: 30_000 } as const;

/** Timers of the system end at 24 days, and a machine that slept may be late: what is due is looked at every hour. */
const MAX_PAUSE_MS = 3_600_000;
/** Tokens that live for seconds only are not renewed more often than this. */
const MIN_PAUSE_MS = 5_000;

/**
 * Renews the caller's tokens ahead, so that neither kubectl nor a new channel waits for the issuer. A renewal that
 * failed is tried again, before the token's end and after it. A request for a token meanwhile gets the error itself.
 */
export async function keepRenewed(
  tokens: CallerTokens,
  options: { readonly signal: AbortSignal; readonly clusters: readonly ClusterId[] },
  deps: RenewalDeps,
): Promise<void> {
  const { signal, clusters } = options;
  await Promise.all([
    keepOneRenewed(tokens, "relay", undefined, signal, deps),
    ...clusters.map((cluster) => keepOneRenewed(tokens, "cluster", cluster, signal, deps)),
  ]);
}

async function keepOneRenewed(
  tokens: CallerTokens,
  purpose: Purpose,
  cluster: ClusterId | undefined,
  signal: AbortSignal,
  deps: RenewalDeps,
): Promise<void> {
  const backoff = createBackoff(BACKOFF, deps);
  while (!signal.aborted) {
    const waitMs = await tokens.token(purpose, { signal, cluster }).then(
      (token) => untilDue(token, deps.now()),
      (error: unknown) => (ERRORS[toConnectError(error).code].retry ? 0 : undefined),
    );
    if (waitMs === undefined) return;
    if (waitMs > 0) backoff.reset();
    await sleep(waitMs > 0 ? waitMs : backoff.next(), signal, deps);
  }
}

/** Milliseconds; 0 for the old token, which serves while the issuer fails; undefined where others see to its renewal. */
function untilDue({ expiresAt, obtainedAt }: StoredToken, now: number): number | undefined {
  if (expiresAt === undefined || obtainedAt === undefined) return undefined;
  const leftMs = dueAt(expiresAt, obtainedAt).getTime() - now;
  return leftMs <= 0 ? 0 : Math.min(MAX_PAUSE_MS, Math.max(MIN_PAUSE_MS, leftMs));
}

async function sleep(delayMs: number, signal: AbortSignal, { clock }: Pick<CliDeps, "clock">): Promise<void> {
  const over = Promise.withResolvers<void>();
  const timer = clock.setTimer(delayMs, over.resolve);
  const leave = onAbort(signal, over.resolve);
  await over.promise;
  leave();
  timer.cancel();
}
