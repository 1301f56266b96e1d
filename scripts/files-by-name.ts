import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";

/** In a test's name they stand for themselves; with any other character a pattern is more than a text. */
const PLAIN = /^[\w\s'",:;/@%#!<>=&~`-]*$/;
const RELATIVE_IMPORT = /\bfrom\s+"(\.{1,2}\/[^"]+\.ts)"/g;

/**
 * Chooses the test files to search for tests of a name, in two turns. The first are the files that hold it as it is. The
 * second are those that hold each of its words, or import them: names are also put together from tables.
 *
 * @param pattern As of vitest's `-t`; every file when it is more than a text.
 */
export async function* filesByName(pattern: string, files: readonly string[]): AsyncGenerator<readonly string[]> {
  if (!PLAIN.test(pattern)) {
    yield files;
    return;
  }
  const holds = await Promise.all(files.map(async (file) => (await read(file)).includes(pattern)));
  yield files.filter((_, index) => holds[index]);
  const words = pattern.match(/\w+/g) ?? [];
  const mayHave = await Promise.all(files.map((file) => reachesWords(file, words)));
  yield files.filter((_, index) => mayHave[index]);
}

const read = (path: string): Promise<string> => readFile(path, "utf8").catch(() => "");

/** Whether each word is in the file, or in what it imports by relative paths. */
async function reachesWords(file: string, words: readonly string[]): Promise<boolean> {
  const missing = new Map(words.map((word) => [word, new RegExp(`\\b${word}\\b`)]));
  const paths = new Set([file]);
  for (const path of paths) {
    const text = await read(path);
    for (const [word, pattern] of missing) if (pattern.test(text)) missing.delete(word);
    if (missing.size === 0) return true;
    for (const [, target = ""] of text.matchAll(RELATIVE_IMPORT)) paths.add(join(dirname(path), target));
  }
  return false;
}
