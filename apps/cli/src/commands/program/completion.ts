import type { Command } from "commander";
import { completionScript } from "../../completion/scripts.ts";
import type { Shell } from "../../completion/shells.ts";
import { completionTree } from "../../completion/tree.ts";
import type { CommandContext } from "../context.ts";

/** Prints a shell's completion script. */
export async function printCompletion(shell: Shell, program: Command, { deps }: CommandContext): Promise<void> {
  deps.stdout.write(completionScript(shell, completionTree(program)));
}
