import { printable } from "./printable.ts";

const PLAIN = /^[\w@%+=:,./-]+$/;

/**
 * A text of another sender as one word of a command that a person may copy. No shell takes a part of it as a command.
 *
 * @param text any text; it is printed on one line.
 */
export function shellWord(text: string): string {
  const line = printable(text);
  return PLAIN.test(line) ? line : `'${line.replaceAll("'", `'\\''`)}'`;
}
