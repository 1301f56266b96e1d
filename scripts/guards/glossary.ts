import { type SourceFile, workspaceOf } from "./source-file.ts";

/** Words of ARCHITECTURE.md's table that no source uses, neither in a name nor in a comment. */
export function idleWords(architecture: string, files: readonly SourceFile[]): readonly string[] {
  const table = architecture.slice(architecture.indexOf("## Words"));
  const words = [...table.matchAll(/^\|(.*)\|$/gm)].flatMap(([, row = ""]) =>
    [...row.matchAll(/\*\*([^*]+)\*\*/g)].map(([, word = ""]) => word),
  );
  const text = files
    .filter(({ path }) => workspaceOf(path) !== undefined)
    .map((file) => file.text)
    .join("\n")
    .toLowerCase();
  if (words.length === 0) return ["ARCHITECTURE.md has no table of words"];
  return words
    .filter((word) => !text.includes(word.toLowerCase()))
    .map((word) => `ARCHITECTURE.md explains "${word}", and no source uses it`);
}
