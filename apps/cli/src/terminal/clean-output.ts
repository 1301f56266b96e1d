import type { TextOutput } from "../deps.ts";

/** Everything that moves a cursor, colours, or turns text round, but for line ends and tabs. */
const CONTROLS = /(?![\n\t])[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu;
/** Sequences of this tool itself: emphasis, and taking a line away that only said what was waited for. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what this tool itself writes
const OWN = /(\u001b\[(?:[0-9]{1,2}m|K)|\r(?=\u001b\[K))/;

/**
 * An output that shows a control character as `\u001b` instead of doing it, in any text that came that far. It is the
 * last line behind `printable`. In JSON that is the same character.
 */
export function cleanOutput(output: TextOutput): TextOutput {
  return {
    isTerminal: output.isTerminal,
    get columns() {
      return output.columns;
    },
    write: (text) => output.write(clean(text, output.isTerminal)),
  };
}

function clean(text: string, isTerminal: boolean): string {
  if (text.search(CONTROLS) < 0) return text;
  if (!isTerminal) return escaped(text);
  return text
    .split(OWN)
    .map((part, index) => (index % 2 === 1 ? part : escaped(part)))
    .join("");
}

function escaped(text: string): string {
  return text.replaceAll(CONTROLS, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
