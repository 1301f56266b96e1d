/** A package of npm in one version. */
export interface LockedPackage {
  readonly name: string;
  readonly version: string;
}

export interface Vulnerable extends LockedPackage {
  /** Names of the advisories. */
  readonly ids: readonly string[];
}

export type OsvAnswer =
  | { readonly kind: "answered"; readonly vulnerable: readonly Vulnerable[] }
  | { readonly kind: "away"; readonly reason: string };

/** Most questions that the database takes at once. */
const BATCH = 1_000;
const TIMEOUT_MS = 30_000;

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null;

/**
 * Packages of a lockfile of pnpm, each version once.
 *
 * @throws Error when there are none: then it is no such file.
 */
export function packagesOf(lockfile: unknown): readonly LockedPackage[] {
  const packages = isRecord(lockfile) ? lockfile["packages"] : undefined;
  const found = Object.keys(isRecord(packages) ? packages : {}).flatMap((key): readonly LockedPackage[] => {
    const [, name, version] = /^(@?[^@]+)@(\d[^()]*)/.exec(key) ?? [];
    return name === undefined || version === undefined ? [] : [{ name, version }];
  });
  if (found.length === 0) throw new Error("The lockfile names no packages");
  return found;
}

/** Asks the database about all of them. @see https://google.github.io/osv.dev/post-v1-querybatch/ */
export async function findVulnerable(
  packages: readonly LockedPackage[],
  options: { readonly url: string },
  deps: { readonly fetch: typeof fetch },
): Promise<OsvAnswer> {
  const vulnerable: Vulnerable[] = [];
  for (let from = 0; from < packages.length; from += BATCH) {
    const asked = packages.slice(from, from + BATCH);
    const results = await ask(asked, options.url, deps.fetch).catch((error: unknown) => String(error));
    if (typeof results === "string") return { kind: "away", reason: results };
    for (const [index, locked] of asked.entries()) {
      const ids = idsOf(results[index]);
      if (ids.length > 0) vulnerable.push({ ...locked, ids });
    }
  }
  return { kind: "answered", vulnerable };
}

async function ask(
  packages: readonly LockedPackage[],
  url: string,
  ask: typeof fetch,
): Promise<readonly unknown[] | string> {
  const queries = packages.map(({ name, version }) => ({ package: { name, ecosystem: "npm" }, version }));
  const response = await ask(new URL("/v1/querybatch", url), {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ queries }),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  if (!response.ok) return `status ${response.status}`;
  const body: unknown = await response.json();
  const results = isRecord(body) ? body["results"] : undefined;
  // A short answer would leave packages out without a word.
  if (!Array.isArray(results) || results.length !== packages.length) return "an answer of another shape";
  return results;
}

function idsOf(result: unknown): readonly string[] {
  const found = isRecord(result) ? result["vulns"] : undefined;
  return Array.isArray(found) ? found.map((one: unknown) => String(isRecord(one) ? one["id"] : one)) : [];
}
