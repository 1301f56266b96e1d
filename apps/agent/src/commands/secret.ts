import { ConnectError } from "@cluster-connect/protocol";
import { type DaemonProcess, parseArguments } from "@cluster-connect/service";
import { Command } from "commander";
import { readPodAccount } from "../secret/account.ts";
import { folderToSecret, secretToFolder } from "../secret/files.ts";

const TIMEOUT_MS = 60_000;

/** `secret read|write --secret NAME --dir FOLDER [--authority-dir FOLDER]`: the cluster's Secret into a folder, or back. */
export async function runSecret(argv: readonly string[], deps: DaemonProcess): Promise<void> {
  const { direction, ...place } = parseFlags(argv);
  const account = await readPodAccount(deps.env);
  const options = { signal: AbortSignal.timeout(TIMEOUT_MS) };
  switch (direction) {
    case "read": {
      const names = await secretToFolder(place, account, options);
      return deps.stdout(
        `Secret ${place.secret}: ${names.length === 0 ? "holds nothing yet" : `read ${names.join(", ")}`}`,
      );
    }
    case "write": {
      const names = await folderToSecret(place, account, options);
      return deps.stdout(
        `Secret ${place.secret}: ${names.length === 0 ? "nothing is new" : `wrote ${names.join(", ")}`}`,
      );
    }
  }
}

interface SecretFlags {
  readonly secret?: string;
  readonly dir?: string;
  readonly authorityDir?: string;
}

function parseFlags(argv: readonly string[]): {
  readonly direction: "read" | "write";
  readonly secret: string;
  readonly folder: string;
  readonly authorityFolder?: string;
} {
  const command = new Command()
    .helpOption(false)
    .option("--secret <value>")
    .option("--dir <value>")
    .option("--authority-dir <value>");
  const { options, words } = parseArguments<SecretFlags>(command, argv);
  const [direction] = words;
  if ((direction !== "read" && direction !== "write") || words.length !== 1) {
    throw new ConnectError("CC_USAGE", "expected secret read or secret write");
  }
  if (options.secret === undefined || options.dir === undefined) {
    throw new ConnectError("CC_USAGE", "expected --secret NAME and --dir FOLDER");
  }
  const { authorityDir: authorityFolder } = options;
  const place = { secret: options.secret, folder: options.dir };
  return authorityFolder === undefined ? { direction, ...place } : { direction, ...place, authorityFolder };
}
