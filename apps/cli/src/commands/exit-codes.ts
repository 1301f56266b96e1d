import { ERRORS } from "@cluster-connect/protocol";
import type { CommandContext } from "./context.ts";

/** Prints every exit code with the error it belongs to and what to do. */
export async function exitCodes({ deps }: CommandContext): Promise<void> {
  const rows = Object.entries(ERRORS).sort(([, a], [, b]) => a.exit - b.exit);
  deps.stdout.write("  0  it worked; `run` otherwise passes on the exit code of its command\n");
  for (const [code, { exit, hint }] of rows) {
    deps.stdout.write(`${String(exit).padStart(3)}  ${code}\n     ${hint}\n`);
  }
}
