import { z } from "zod";
import { DEFAULT_LIMITS } from "./limits.ts";

/** How much may be under way at once. */
export interface ProxyLimits {
  readonly requests: number;
  readonly requestsPerCaller: number;
  /** Watches, logs and proxied streams. */
  readonly longRequests: number;
  readonly longRequestsPerCaller: number;
  readonly upgrades: number;
  readonly upgradesPerCaller: number;
  readonly streams: number;
  readonly handshakes: number;
}

/** A part, and the whole that it may not exceed. */
const PARTS: readonly (readonly [part: keyof ProxyLimits, whole: keyof ProxyLimits])[] = [
  ["requestsPerCaller", "requests"],
  ["longRequestsPerCaller", "longRequests"],
  ["upgradesPerCaller", "upgrades"],
  ["handshakes", "streams"],
];

const count: z.ZodOptional<z.ZodInt> = z.int().min(1).optional();

const GIVEN = z.strictObject({
  requests: count,
  requestsPerCaller: count,
  longRequests: count,
  longRequestsPerCaller: count,
  upgrades: count,
  upgradesPerCaller: count,
  streams: count,
  handshakes: count,
});

/** The auth proxy's table of limits: a part that is not given is no more than its whole, one that is more is refused. */
export const LIMIT_SCHEMA: z.ZodType<ProxyLimits> = GIVEN.transform((given, context) => {
  const limits: { -readonly [name in keyof ProxyLimits]: number } = { ...DEFAULT_LIMITS };
  for (const name of Object.keys(DEFAULT_LIMITS) as (keyof ProxyLimits)[]) limits[name] = given[name] ?? limits[name];
  for (const [part, whole] of PARTS) {
    const most = limits[whole];
    if (given[part] === undefined) limits[part] = Math.min(limits[part], most);
    if (limits[part] <= most) continue;
    const message = `expected at most ${most}: \`limits.${whole}\` is the limit of all`;
    context.addIssue({ code: "custom", path: [part], message });
  }
  return limits;
}).prefault({});
