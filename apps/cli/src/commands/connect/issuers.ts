import { type Preset, presetConfiguration } from "@cluster-connect/auth";
import { hasOwnAudiences } from "@cluster-connect/protocol";
import { writePrivateFile } from "../../files/private-file.ts";
import { readTextFileIfAny } from "../../files/text-file.ts";
import type { CommandContext } from "../context.ts";

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
    tellShared(preset, deps);
    return;
  }
  const before = await readTextFileIfAny(flags.file);
  const text = presetConfiguration([preset], before === undefined ? {} : { addTo: before });
  await writePrivateFile(flags.file, text);
  deps.stderr.write(`${before === undefined ? "Wrote" : "Added the issuer to"} ${flags.file}\n`);
  tellShared(preset, deps);
}

/** Clusters that share an audience take each other's tokens. */
function tellShared(preset: Preset, { stderr }: Pick<CommandContext["deps"], "stderr">): void {
  if (preset.audiences?.every(hasOwnAudiences) === true) return;
  stderr.write(`note: clusters that take the same audience take the same tokens. ${remedyFor(preset)}\n`);
}

function remedyFor({ kind }: Preset): string {
  switch (kind) {
    case "entra":
      return "With Entra, have an application, and so a file, for each cluster. In the relay's file it is as it should be.";
    case "azure-pipelines":
      return "Azure Pipelines has one audience for all of them, and for Entra: exchange its token by `login --service-principal`.";
    case "github-actions":
    case "gitlab":
    case "oidc":
      return "{cluster} in --audience gives each its own. In the relay's file it is as it should be.";
  }
}
