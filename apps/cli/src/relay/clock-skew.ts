import { ConnectError, type ErrorCode } from "@cluster-connect/protocol";
import type { CliDeps } from "../deps.ts";
import { formatAge } from "../terminal/listing.ts";
import { timestamp } from "../tokens/stored-token.ts";
import { CERTIFICATE_TIME_HINT } from "./network-error.ts";

/** Clocks that are off by no more than this count as right: tokens bear it. */
export const MAX_SKEW_MS = 60_000;

/** A server's word about this machine's clock. */
export interface ClockSkew {
  readonly host: string;
  /** Milliseconds that this machine's clock is ahead of the server's; negative where it is behind. */
  readonly aheadMs: number;
}

/** The last server's word about this machine's clock, as far as there was one. */
export interface ClockWitness {
  /** As the one that was given; it looks at each answer. */
  readonly fetch: typeof fetch;
  readonly skew: ClockSkew | undefined;
}

/** Looks at the time that each server tells in its answer. */
export function watchClock(deps: Pick<CliDeps, "fetch" | "now">): ClockWitness {
  let skew: ClockSkew | undefined;
  return {
    fetch: async (input, init) => {
      const sentAt = deps.now();
      const response = await deps.fetch(input, init);
      const aheadMs = aheadOf(response, sentAt, deps.now());
      const url = URL.parse(input instanceof Request ? input.url : String(input));
      if (aheadMs !== undefined && url !== null) skew = { host: url.host, aheadMs };
      return response;
    },
    get skew() {
      return skew;
    },
  };
}

/**
 * How far this machine's clock is ahead of a server's.
 *
 * @param sentAt time of the request and of the answer, by this machine's clock.
 * @returns milliseconds, for what is stored on the way too; undefined where the answer tells no time.
 */
export function aheadOf(
  { headers }: Pick<Response, "headers">,
  sentAt: number,
  answeredAt: number,
): number | undefined {
  const date = Date.parse(headers.get("date") ?? "");
  if (Number.isNaN(date)) return undefined;
  const ageSeconds = Number(headers.get("age") ?? 0);
  return (sentAt + answeredAt) / 2 - date - (Number.isFinite(ageSeconds) ? ageSeconds * 1_000 : 0);
}

/** Whether tokens would suffer from it. */
export const isOff = (skew: ClockSkew): boolean => Math.abs(skew.aheadMs) > MAX_SKEW_MS;

/** Such as "this machine's clock is 5h ahead of login.example.com's". */
export function describeSkew({ host, aheadMs }: ClockSkew): string {
  const minutes = Math.round(Math.abs(aheadMs) / 60_000);
  const span = formatAge(minutes * 60);
  return `this machine's clock is ${span} ${aheadMs > 0 ? "ahead of" : "behind"} ${host}'s`;
}

/** A process that was started in between may have said it. */
const CLOCK_SAYS = "this machine's clock says";

/** Failures that a wrong clock brings about. */
const OF_TIME: ReadonlySet<ErrorCode> = new Set([
  "CC_TOKEN_EXPIRED",
  "CC_TOKEN_INVALID",
  "CC_NOT_LOGGED_IN",
  "CC_LOGIN_FAILED",
]);

/** The error with a word about the clock, where that is off and may be why, or where nothing but the clock tells. */
export function withClock(error: ConnectError, { skew }: Pick<ClockWitness, "skew">, now: number): ConnectError {
  const { code, message, hint, cause } = error;
  if (code === "CC_TLS_UNTRUSTED" && hint === CERTIFICATE_TIME_HINT && !message.includes(CLOCK_SAYS)) {
    const off = skew !== undefined && isOff(skew) ? `, and ${describeSkew(skew)}` : "";
    const said = new ConnectError(code, `${message}; ${CLOCK_SAYS} ${timestamp(new Date(now))}${off}`, { hint, cause });
    said.correlationId = error.correlationId;
    return said;
  }
  if (skew === undefined || !isOff(skew) || !OF_TIME.has(code)) return error;
  const said = new ConnectError(code, message, {
    hint: `Set this machine's clock (NTP): ${describeSkew(skew)}, and that may be the reason. ${hint}`,
    cause,
  });
  said.correlationId = error.correlationId;
  return said;
}
