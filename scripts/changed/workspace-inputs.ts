import { globSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { createFileInputs, type FileInputs } from "./file-inputs.ts";

export const ROOT: string = resolve(import.meta.dirname, "../..");

/** Files that each result depends on, whatever it names. */
const COMMON: readonly string[] = ["pnpm-lock.yaml", "scripts/changed/file-inputs.ts"];

/** The inputs of this workspace's files. @param more further files that all results depend on, from the root. */
export function workspaceInputs(more: readonly string[]): FileInputs {
  const manifests = globSync("{apps,packages}/*/package.json", { cwd: ROOT });
  const common = [...COMMON, ...manifests, ...more].map((name) => join(ROOT, name));
  return createFileInputs({ root: ROOT, entries: packageEntries(), common });
}

/** Source files behind the `exports` of every package. */
function packageEntries(): ReadonlyMap<string, string> {
  const entries = new Map<string, string>();
  for (const manifest of globSync("packages/*/package.json", { cwd: ROOT })) {
    const { name, exports } = JSON.parse(readFileSync(join(ROOT, manifest), "utf8"));
    for (const [way, { source }] of Object.entries<{ readonly source: string }>(exports)) {
      entries.set(join(name, way), join(ROOT, dirname(manifest), source));
    }
  }
  return entries;
}
