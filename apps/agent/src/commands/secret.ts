import { parseArgs } from "node:util";
import { ConnectError } from "@cluster-connect/protocol";
import { type DaemonProcess, usageError } from "@cluster-connect/service";
import { readPodAccount } from "../secret/account.ts";
import { folderToSecret, secretToFolder } from "../secret/files.ts";

const TIMEOUT_MS = 60_000;

/** `secret read|write --secret NAME --dir FOLDER`: the cluster's Secret into a folder, or back. */
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

function parseFlags(argv: readonly string[]): {
  readonly direction: "read" | "write";
  readonly secret: string;
  readonly folder: string;
} {
  const { values, positionals } = parse(argv);
  const [direction] = positionals;
  if ((direction !== "read" && direction !== "write") || positionals.length !== 1) {
    throw new ConnectError("CC_USAGE", "expected secret read or secret write");
  }
  if (values.secret === undefined || values.dir === undefined) {
    throw new ConnectError("CC_USAGE", "expected --secret NAME and --dir FOLDER");
  }
  return { direction, secret: values.secret, folder: values.dir };
}

function parse(argv: readonly string[]): ReturnType<typeof parseWords> {
  try {
    return parseWords(argv);
  } catch (cause) {
    throw usageError(cause);
  }
}

function parseWords(argv: readonly string[]): {
  readonly values: { readonly secret?: string | undefined; readonly dir?: string | undefined };
  readonly positionals: readonly string[];
} {
  const options = { secret: { type: "string" }, dir: { type: "string" } } as const;
  return parseArgs({ args: [...argv], allowPositionals: true, options });
}
