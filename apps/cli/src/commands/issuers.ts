import { type Preset, presetConfiguration } from "@cluster-connect/auth";
import { writePrivateFile } from "../files/private-file.ts";
import { readTextFileIfAny } from "../files/text-file.ts";
import type { CommandContext } from "./context.ts";

export interface IssuersFlags {
  readonly file?: string;
}

/**
 * Prints a new file of issuers, or adds the issuer to one that may be there.
 *
 * @throws ConnectError `CC_CONFIG_INVALID` when the file is none or has the issuer already; it stays as it was.
 */
export async function writeIssuers(preset: Preset, flags: IssuersFlags, { deps }: CommandContext): Promise<void> {
  if (flags.file === undefined) {
    deps.stdout.write(presetConfiguration([preset]));
    return;
  }
  const before = await readTextFileIfAny(flags.file);
  const text = presetConfiguration([preset], before === undefined ? {} : { addTo: before });
  await writePrivateFile(flags.file, text);
  deps.stderr.write(`${before === undefined ? "Wrote" : "Added the issuer to"} ${flags.file}\n`);
}
