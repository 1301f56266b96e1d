import type { CliDeps } from "../deps.ts";
import type { Interrupts } from "../interrupts.ts";

/** What every command gets besides its own flags. */
export interface CommandContext {
  readonly deps: CliDeps;
  readonly signal: AbortSignal;
  readonly interrupts: Interrupts;
}
