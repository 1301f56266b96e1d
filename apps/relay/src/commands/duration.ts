import { ConnectError } from "@cluster-connect/protocol";

const UNIT_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const MAX_DAYS = 366;

/**
 * Reads a duration such as `90s`, `30m`, `1h30m` or `7d` into milliseconds.
 *
 * @throws ConnectError `CC_USAGE` for anything else, for nothing at all and for more than a year.
 */
export function parseDuration(text: string): number {
  const parts = [...text.matchAll(/(\d{1,6})([smhd])/g)];
  const whole = parts.map(([part]) => part).join("") === text && text !== "";
  const ms = parts.reduce((sum, [, count, unit = ""]) => sum + Number(count) * (UNIT_MS[unit] ?? 0), 0);
  if (whole && ms > 0 && ms <= MAX_DAYS * 86_400_000) return ms;
  throw new ConnectError("CC_USAGE", `${JSON.stringify(text)} is no duration such as 90s, 30m, 1h or 7d`);
}
