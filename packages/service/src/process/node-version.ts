/** The oldest Node whose HTTP parser and TLS have no known hole that matters here; `engines` of every app says the same. */
export const OLDEST_NODE = "24.18.1";

/** Why this Node is not taken, for a person; undefined when it is. */
export function tooOldNode(version: string): string | undefined {
  if (compareVersions(version, OLDEST_NODE) >= 0) return undefined;
  return `error: Node ${version} is too old\nhint: Install Node ${OLDEST_NODE} or newer.`;
}

function compareVersions(one: string, other: string): number {
  const [a, b] = [partsOf(one), partsOf(other)];
  for (const at of [0, 1, 2]) {
    const difference = (a[at] ?? 0) - (b[at] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

function partsOf(version: string): readonly number[] {
  return version.split(".").map((part) => Number.parseInt(part, 10));
}
