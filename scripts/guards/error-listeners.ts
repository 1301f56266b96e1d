import type { SourceFile } from "./source-file.ts";

/** Listeners of what is released that go after the first error, and leave a second one to end the process. */
export function fleetingErrorListeners(files: readonly SourceFile[]): readonly string[] {
  return files
    .filter(({ path }) => /^(apps|packages)\/[^/]+\/src\//.test(path))
    .flatMap(({ path, text }) =>
      text
        .split("\n")
        .flatMap((line, index) =>
          /\.once\(\s*"error"/.test(line)
            ? [`${path}:${index + 1}: once("error") leaves a second error without a listener: use on("error")`]
            : [],
        ),
    );
}
