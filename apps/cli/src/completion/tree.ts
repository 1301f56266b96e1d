import type { Command } from "commander";

/** The words and flags that can be typed after a command's name. */
export interface CompletionNode {
  /** Words from the program's name on, without it: `clusters trust`. */
  readonly path: string;
  readonly commands: readonly { readonly name: string; readonly description: string }[];
  readonly flags: readonly CompletionFlag[];
  /** Values of its first argument, where they are fixed. */
  readonly choices: readonly string[];
}

export interface CompletionFlag {
  /** With its dashes. */
  readonly name: string;
  readonly description: string;
  readonly takesValue: boolean;
  readonly choices: readonly string[];
  /** The value is a cluster. */
  readonly isCluster: boolean;
  /** The value is a context that the kubeconfig has. */
  readonly isContext: boolean;
}

/** Commands that give a new context its name. */
const NAMING: ReadonlySet<string> = new Set(["proxy", "kubeconfig"]);

/** Every command of a program with its flags, the program itself first. */
export function completionTree(program: Command, path: readonly string[] = []): readonly CompletionNode[] {
  const visible = program.createHelp().visibleCommands(program);
  const node: CompletionNode = {
    path: path.join(" "),
    choices: program.registeredArguments[0]?.argChoices ?? [],
    commands: visible.map((command) => ({ name: command.name(), description: command.description() })),
    flags: program
      .createHelp()
      .visibleOptions(program)
      .flatMap((option) =>
        [option.short, option.long]
          .filter((name) => name !== undefined)
          .map((name) => ({
            name,
            description: option.description,
            takesValue: option.required || option.optional,
            choices: option.argChoices ?? [],
            isCluster: option.long === "--name",
            isContext: option.long === "--kube-context" && !NAMING.has(path[0] ?? ""),
          })),
      ),
  };
  return [node, ...program.commands.flatMap((command) => completionTree(command, [...path, command.name()]))];
}
