import type { SourceFile } from "./source-file.ts";

/** A parameter is never packed, so that a brace or a comma has to stand in front. */
const PACKED = /^(?:.*[{,])?\s*\.\.\.\{/;

/** Objects that are spread only to put several fields on one line. */
export function packedFields(files: readonly SourceFile[]): readonly string[] {
  return files.flatMap(({ path, text }) =>
    text
      .split("\n")
      .flatMap((line, at) =>
        PACKED.test(line) ? [`${path}:${at + 1} spreads an object's own fields: name them`] : [],
      ),
  );
}
