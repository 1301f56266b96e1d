import { styleText } from "node:util";
import type { Environment, TextOutput } from "../deps.ts";

/** Emphasis on a terminal; plain text elsewhere. */
export interface Style {
  strong(text: string): string;
  good(text: string): string;
  bad(text: string): string;
  faint(text: string): string;
}

type Format = Parameters<typeof styleText>[0];

/** Colours only on terminals that want them. @see https://no-color.org */
export function createStyle(output: TextOutput, env: Environment): Style {
  const isOn = output.isTerminal && (env["NO_COLOR"] ?? "") === "" && env["TERM"] !== "dumb";
  const wrap =
    (format: Format) =>
    (text: string): string =>
      // Whether there are colours is known here; Node would look at its own streams and variables.
      isOn ? styleText(format, text, { validateStream: false }) : text;
  return { strong: wrap("bold"), good: wrap("green"), bad: wrap("red"), faint: wrap("dim") };
}
