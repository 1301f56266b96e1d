import type { CliDeps } from "../deps.ts";
import type { CommandInterrupts } from "../terminal/interrupts.ts";

/** Inputs of every command besides its own flags. */
export interface CommandContext {
  readonly deps: CliDeps;
  readonly signal: AbortSignal;
  readonly interrupts: CommandInterrupts;
}
