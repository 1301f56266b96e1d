import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ROOT } from "./workspace-inputs.ts";

const placeOf = (name: string): string => join(ROOT, "node_modules/.cache/cluster-connect", `${name}.json`);
const passedOf = (check: string): string => `passed-${check}`;
const TIMES = "test-times";

async function read(name: string): Promise<unknown> {
  const text = await readFile(placeOf(name), "utf8").catch(() => "null");
  return JSON.parse(text);
}

async function write(name: string, value: unknown): Promise<void> {
  await mkdir(dirname(placeOf(name)), { recursive: true });
  await writeFile(placeOf(name), JSON.stringify(value));
}

/** Keys of the files that a check has passed the last time; none where that was never, or was not written down. */
export async function readPassedKeys(check: string): Promise<ReadonlySet<string>> {
  const before = await read(passedOf(check));
  return new Set(Array.isArray(before) ? before.map(String) : []);
}

export async function writePassedKeys(check: string, keys: readonly string[]): Promise<void> {
  await write(passedOf(check), keys);
}

/** Milliseconds that each test file took the last time, by its path. */
export async function readTestTimes(): Promise<ReadonlyMap<string, number>> {
  return new Map(Object.entries((await read(TIMES)) ?? {}));
}

export async function writeTestTimes(times: ReadonlyMap<string, number>): Promise<void> {
  await write(TIMES, Object.fromEntries(times));
}
