import type { Command } from "commander";

/** How far the words of a command line name a command. */
export interface FoundCommand {
  readonly command: Command;
  /** Names from the program's on, without it: `admin`, `grants`, `add`. */
  readonly path: readonly string[];
  /** The word after them, where a command's name was expected and this is none. */
  readonly unknown: string | undefined;
}

/** Follows the names in a command line; flags and their possible values are passed over. */
export function findCommand(program: Command, argv: readonly string[]): FoundCommand {
  let command = program;
  const path: string[] = [];
  for (const [index, word] of argv.entries()) {
    if (word === "--" || command.commands.length === 0) break;
    if (word.startsWith("-")) continue;
    const next = command.commands.find((one) => one.name() === word);
    if (next !== undefined) {
      command = next;
      path.push(word);
    } else if (argv[index - 1]?.startsWith("-") !== true) return { command, path, unknown: word };
  }
  return { command, path, unknown: undefined };
}
