import { ERRORS } from "@cluster-connect/protocol";
import { type OutputFormat, writeListing } from "../../terminal/listing.ts";
import type { CommandContext } from "../context.ts";

export interface ExitCodesFlags {
  readonly output: OutputFormat;
}

/** Lists every exit code with the error it belongs to and what to do. */
export async function listExitCodes(flags: ExitCodesFlags, { deps }: CommandContext): Promise<void> {
  const items = Object.entries(ERRORS)
    .map(([code, { exit, retry, hint }]) => ({ exit, code, retry, hint }))
    .sort((a, b) => a.exit - b.exit);
  await writeListing(
    {
      key: "exitCodes",
      items,
      nameOf: ({ code }) => code,
      none: "There are none.",
      columns: [
        { title: "EXIT", text: ({ exit }) => String(exit) },
        { title: "CODE", text: ({ code }) => code },
        { title: "RETRY", text: ({ retry }) => (retry ? "yes" : "no") },
        { title: "WHAT TO DO", text: ({ hint }) => hint },
      ],
    },
    flags.output,
    deps,
  );
}
