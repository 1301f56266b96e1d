import type { CliDeps } from "../deps.ts";
import { aheadOf, type ClockSkew, describeSkew, isOff, MAX_SKEW_MS } from "../relay/clock-skew.ts";
import { expiryOf, unverifiedClaims } from "./stored-token.ts";

/** When a token ends, by this machine's clock; undefined where it does not say. */
export type TokenEnd = (token: string, options: { readonly signal: AbortSignal }) => Promise<Date | undefined>;

/**
 * Reads the end of tokens that were not got by this tool just now: only they themselves tell it, by their issuer's
 * clock. Where a token seems over, or not issued yet, the relay is asked for the time, so that a wrong clock of this
 * machine neither throws it away nor keeps it too long; that is told once, where `stderr` is given.
 */
export function createTokenEnd(
  relay: URL,
  deps: Pick<CliDeps, "fetch" | "now"> & { readonly stderr?: CliDeps["stderr"] },
): TokenEnd {
  let isTold = false;
  return async (token, options) => {
    const expiresAt = expiryOf(token);
    if (expiresAt === undefined || !seemsOff(token, expiresAt, deps.now())) return expiresAt;
    const skew = await askClock(relay, options, deps);
    if (skew === undefined || !isOff(skew)) return expiresAt;
    if (!isTold) deps.stderr?.write(`warning: ${describeSkew(skew)}: set it (NTP)\n`);
    isTold = true;
    return new Date(expiresAt.getTime() + skew.aheadMs);
  };
}

function seemsOff(token: string, expiresAt: Date, now: number): boolean {
  const issuedAt = unverifiedClaims(token)["iat"];
  return expiresAt.getTime() <= now || (typeof issuedAt === "number" && issuedAt * 1_000 > now + MAX_SKEW_MS);
}

/** A relay that does not answer is told about where it is needed. */
async function askClock(
  relay: URL,
  { signal }: { readonly signal: AbortSignal },
  deps: Pick<CliDeps, "fetch" | "now">,
): Promise<ClockSkew | undefined> {
  const sentAt = deps.now();
  try {
    const response = await deps.fetch(new URL("/healthz", relay), { signal, redirect: "manual" });
    await response.body?.cancel();
    const aheadMs = aheadOf(response, sentAt, deps.now());
    return aheadMs === undefined ? undefined : { host: relay.host, aheadMs };
  } catch {
    signal.throwIfAborted();
    return undefined;
  }
}
