import { ConnectError } from "@cluster-connect/protocol";
import { writePrivateFile } from "../../files/private-file.ts";
import { readTextFileIfAny } from "../../files/text-file.ts";
import { createFleetKey } from "../../fleet/fleet-key.ts";
import type { CommandContext } from "../context.ts";

export interface CreateFleetKeyFlags {
  readonly file: string;
}

/** Makes a fleet key: the private half into a new file, the public one onto standard output. */
export async function createFleetKeyFile({ file }: CreateFleetKeyFlags, { deps }: CommandContext): Promise<void> {
  if ((await readTextFileIfAny(file)) !== undefined) {
    throw new ConnectError("CC_USAGE", `${file} is there already`, {
      hint: "Name another file: no key is written over.",
    });
  }
  const { privatePem, publicText } = createFleetKey();
  await writePrivateFile(file, privatePem);
  deps.stdout.write(`${publicText}\n`);
  deps.stderr.write(
    `${file} signs the authorities of your clusters: keep it offline. Callers get the line above, once: login --fleet-key\n`,
  );
}
