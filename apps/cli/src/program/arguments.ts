import { InvalidArgumentError } from "commander";

/** Collects a flag that may be given several times. */
export function collect(value: string, previous: readonly string[] | undefined): readonly string[] {
  return [...(previous ?? []), value];
}

export function parsePort(value: string): number {
  const port = Number(value);
  if (/^\d{1,5}$/.test(value) && port <= 65_535) return port;
  throw new InvalidArgumentError("A port is a number from 0 to 65535.");
}

/** A span of time such as `30s`, `2m` or `1h`, in seconds; a number alone counts seconds. */
export function parseSeconds(value: string): number {
  const [, amount, unit] = /^(\d{1,6})(s|m|h)?$/.exec(value) ?? [];
  if (amount === undefined) throw new InvalidArgumentError("A time is a number with s, m or h, such as 30s.");
  return Number(amount) * (unit === "h" ? 3_600 : unit === "m" ? 60 : 1);
}

/** An id as the relay makes them, where it begins with a dash: no flag of these commands is that long. */
const DASHED_ID = /^-[\w-]{20,}$/;

/** Ids of keys, codes and sessions may begin with a dash and would be taken for flags: they go behind `--`. */
export function withIdsLast(argv: readonly string[]): readonly string[] {
  const [group, , verb] = argv;
  if (group !== "admin" || (verb !== "revoke" && verb !== "end") || argv.includes("--")) return argv;
  const ids = argv.filter((word) => DASHED_ID.test(word));
  return ids.length === 0 ? argv : [...argv.filter((word) => !DASHED_ID.test(word)), "--", ...ids];
}
