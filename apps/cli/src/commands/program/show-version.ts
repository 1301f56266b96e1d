import { VERSION } from "../../version.ts";
import type { CommandContext } from "../context.ts";

export interface VersionFlags {
  readonly output: "text" | "json";
}

/** Shows this program's version and, as JSON, its platform. */
export function showVersion(flags: VersionFlags, { deps }: CommandContext): void {
  const shown = { version: VERSION, node: process.versions.node, platform: `${deps.platform}-${process.arch}` };
  deps.stdout.write(flags.output === "json" ? `${JSON.stringify(shown, undefined, 2)}\n` : `${VERSION}\n`);
}
