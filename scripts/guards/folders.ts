import { dirname } from "node:path";
import type { SourceFile } from "./source-file.ts";

/** A folder is one station or one responsibility; more files than this are two of them. */
const MAX_FILES = 16;

/** Folders of sources with too many files. */
export function crowdedFolders(files: readonly SourceFile[]): readonly string[] {
  const sources = files.filter(({ path }) => /\/src\/.*\.ts$|^scripts\/.*\.ts$|^e2e\/suites\/.*\.ts$/.test(path));
  return [...Map.groupBy(sources, ({ path }) => dirname(path))]
    .filter(([, found]) => found.length > MAX_FILES)
    .map(([folder, found]) => `${folder} holds ${found.length} files, at most ${MAX_FILES}: cut it by subject`);
}
