import type { Environment, TextOutput } from "./deps.ts";

/** Emphasis on a terminal; plain text elsewhere. */
export interface Style {
  strong(text: string): string;
  good(text: string): string;
  bad(text: string): string;
  faint(text: string): string;
}

/** Colours only on terminals that want them. @see https://no-color.org */
export function createStyle(output: TextOutput, env: Environment): Style {
  const on = output.isTerminal && (env["NO_COLOR"] ?? "") === "" && env["TERM"] !== "dumb";
  const wrap =
    (code: number) =>
    (text: string): string =>
      on ? `\u001b[${code}m${text}\u001b[0m` : text;
  return { strong: wrap(1), good: wrap(32), bad: wrap(31), faint: wrap(2) };
}
