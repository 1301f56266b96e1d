import { RE2JS } from "re2js";
import { MAX_PATTERN_CHARACTERS } from "../limits.ts";

/** A regular expression on RE2, which takes linear time; undefined when it is too long or RE2 does not take it. */
export function compilePattern(pattern: string): RE2JS | undefined {
  if (pattern.length > MAX_PATTERN_CHARACTERS) return undefined;
  try {
    return RE2JS.compile(pattern);
  } catch {
    return undefined;
  }
}
