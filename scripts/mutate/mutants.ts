import type { Change } from "./change.ts";
import { changesOf } from "./changes.ts";
import { isFunction } from "./reach.ts";
import { parseTypeScript, runningChildren, type SyntaxNode } from "./syntax.ts";

/** One small fault put into a file. */
export interface Mutant {
  /** Line of the change, from 1. */
  readonly line: number;
  /** The lines that change, trimmed and joined by a space: as they are, and as the fault leaves them. */
  readonly original: string;
  readonly mutated: string;
  /** Where the function begins that has the fault in its body, counted in the text; undefined outside of any. */
  readonly within?: number;
  /** The whole text of the file with the fault. */
  readonly source: string;
}

/**
 * Every mutant of a source file, each with exactly one change, in the order of the text.
 *
 * @throws Error of the parser, when the text is no TypeScript.
 */
export function mutantsOf(source: string): readonly Mutant[] {
  const mutants: Mutant[] = [];
  const seen = new Set<string>();
  for (const change of collect(parseTypeScript(source), [], source)) {
    const mutant = apply(source, change);
    if (mutant.source === source || seen.has(mutant.source)) continue;
    seen.add(mutant.source);
    mutants.push(mutant);
  }
  return mutants.toSorted((a, b) => a.line - b.line);
}

function* collect(node: SyntaxNode, parents: readonly SyntaxNode[], source: string): Generator<Change> {
  const { changes, whole } = changesOf(node, parents, source);
  // A parameter's default and a name are not in the body, but run with it.
  const within = parents.find(isFunction)?.start;
  for (const change of changes) yield within === undefined ? change : { ...change, within };
  if (whole) return;
  for (const child of runningChildren(node)) yield* collect(child, [node, ...parents], source);
}

function apply(source: string, { start, end, text, within }: Change): Mutant {
  const from = source.lastIndexOf("\n", start - 1) + 1;
  const lineEnd = source.indexOf("\n", end);
  const to = lineEnd === -1 ? source.length : lineEnd;
  const mutated = source.slice(0, start) + text + source.slice(end);
  return {
    line: source.slice(0, start).split("\n").length,
    original: oneLine(source.slice(from, to)),
    mutated: oneLine(source.slice(from, start) + text + source.slice(end, to)),
    ...(within === undefined ? {} : { within }),
    source: mutated,
  };
}

const oneLine = (text: string): string =>
  text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "")
    .join(" ");
