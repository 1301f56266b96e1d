import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ROOT } from "./workspace-inputs.ts";

const placeOf = (check: string): string => join(ROOT, "node_modules/.cache/cluster-connect", `passed-${check}.json`);

/** Keys of the files that a check has passed the last time; none where that was never, or was not written down. */
export async function readPassedKeys(check: string): Promise<ReadonlySet<string>> {
  const before: unknown = await readFile(placeOf(check), "utf8")
    .then(JSON.parse)
    .catch(() => []);
  return new Set(Array.isArray(before) ? before.map(String) : []);
}

export async function writePassedKeys(check: string, keys: readonly string[]): Promise<void> {
  await mkdir(dirname(placeOf(check)), { recursive: true });
  await writeFile(placeOf(check), JSON.stringify(keys));
}
