import type { z } from "zod";

/**
 * Problems that a schema found: each with the value's path and what was expected, never the value.
 *
 * @param variables of the environment that gave values, by the paths of those.
 */
export function describeProblems(
  error: z.core.$ZodError,
  variables: ReadonlyMap<string, string> = new Map(),
): readonly string[] {
  return error.issues.flatMap((issue) => {
    const from = variableOf(issue.path, variables);
    return describeIssue(issue).map((problem) => (from === undefined ? problem : `${problem} (from ${from})`));
  });
}

/** The variable that gave a value, or what it is in. */
function variableOf(path: readonly PropertyKey[], variables: ReadonlyMap<string, string>): string | undefined {
  return path
    .map((_, index) => variables.get(pathText(path.slice(0, index + 1))))
    .findLast((name) => name !== undefined);
}

function describeIssue(issue: z.core.$ZodIssue): readonly string[] {
  const path = pathText(issue.path);
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map((key) => `${pathText([...issue.path, key])}: no such setting`);
    case "invalid_union":
      return describeUnion(issue, path);
    default:
      return [`${path}: ${lowerFirst(issue.message.replace(/^Invalid (input|option|string): /, ""))}`];
  }
}

/** The member that came nearest speaks for the union. */
function describeUnion(issue: z.core.$ZodIssueInvalidUnion, path: string): readonly string[] {
  const nearest = issue.errors.toSorted((a, b) => a.length - b.length)[0];
  if (nearest === undefined || nearest.length === 0) return [`${path}: ${lowerFirst(issue.message)}`];
  return nearest.flatMap((inner) => describeIssue({ ...inner, path: [...issue.path, ...inner.path] }));
}

function pathText(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === "number") return `${text}[${part}]`;
    return text === "" ? String(part) : `${text}.${String(part)}`;
  }, "");
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
