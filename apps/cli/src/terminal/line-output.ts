import type { TextOutput } from "../deps.ts";

/** An output that knows whether its last line is unfinished. */
export interface LineOutput extends TextOutput {
  /** Takes an unfinished line away: it only said what was being waited for. */
  startLine(): void;
}

export function createLineOutput(output: TextOutput): LineOutput {
  let isUnfinished = false;
  return {
    isTerminal: output.isTerminal,
    get columns() {
      return output.columns;
    },
    write(text) {
      if (text === "") return;
      isUnfinished = !text.endsWith("\n");
      output.write(text);
    },
    startLine() {
      if (isUnfinished && output.isTerminal) output.write("\r\u001b[K");
      isUnfinished = false;
    },
  };
}
