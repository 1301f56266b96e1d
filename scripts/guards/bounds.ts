import type { SourceFile } from "./source-file.ts";

/** `MAX_STREAMS`, `DEFAULT_LIMITS`: a constant that bounds something, for other files as well. */
const BOUND = /^export const ((?:[A-Z0-9]+_)*MAX_[A-Z0-9_]+|[A-Z0-9_]+_LIMITS?)\b/gm;
const NAME = /\b[A-Z][A-Z0-9]*_[A-Z0-9_]+\b/g;

/**
 * Bounds that no test names: each wants a test of the most that there may be and of one more.
 *
 * @param sources with the tests.
 */
export function untestedBounds(sources: readonly SourceFile[]): readonly string[] {
  const tests = sources.filter(({ path }) => path.endsWith(".test.ts"));
  const named = new Set(tests.flatMap(({ text }) => text.match(NAME) ?? []));
  return sources
    .filter(({ path }) => path.includes("/src/") && !path.includes("/testing/") && !path.startsWith("e2e/"))
    .flatMap(({ path, text }) =>
      [...text.matchAll(BOUND)].flatMap(([, name = ""]) =>
        named.has(name)
          ? []
          : [`${path}: no test names the bound ${name}; try the most that there may be, and one more`],
      ),
    );
}
