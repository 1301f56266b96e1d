import { createBackoff } from "@cluster-connect/framing";
import { ERRORS, toConnectError } from "@cluster-connect/protocol";
import type { CliDeps } from "../deps.ts";
import type { CallerTokens, Purpose } from "./caller-tokens.ts";
import { dueAt, type StoredToken } from "./stored-token.ts";

type RenewalDeps = Pick<CliDeps, "clock" | "now" | "random">;

const PURPOSES: readonly Purpose[] = ["relay", "cluster"];
/** While the issuer fails: as often as a person would wish, and no more than the issuer can bear. */
const BACKOFF = { baseDelayMs: 1_000, maxDelayMs: 30_000 } as const;

/**
 * Renews the caller's tokens ahead, so that neither kubectl nor a new channel waits for the issuer. A renewal that
 * failed is tried again, before the token's end and after it; whoever needs a token meanwhile gets the error itself.
 */
export async function keepRenewed(
  tokens: CallerTokens,
  options: { readonly signal: AbortSignal },
  deps: RenewalDeps,
): Promise<void> {
  await Promise.all(PURPOSES.map((purpose) => keepOneRenewed(tokens, purpose, options.signal, deps)));
}

async function keepOneRenewed(
  tokens: CallerTokens,
  purpose: Purpose,
  signal: AbortSignal,
  deps: RenewalDeps,
): Promise<void> {
  const backoff = createBackoff(BACKOFF, deps);
  while (!signal.aborted) {
    const waitMs = await tokens.token(purpose, { signal }).then(
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
  return Math.max(0, dueAt(expiresAt, obtainedAt).getTime() - now);
}

async function sleep(delayMs: number, signal: AbortSignal, { clock }: Pick<CliDeps, "clock">): Promise<void> {
  const over = Promise.withResolvers<void>();
  const onAbort = (): void => over.resolve();
  const timer = clock.setTimer(delayMs, over.resolve);
  signal.addEventListener("abort", onAbort, { once: true });
  await over.promise;
  signal.removeEventListener("abort", onAbort);
  timer.cancel();
}
