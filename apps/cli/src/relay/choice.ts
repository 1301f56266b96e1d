import { resolve } from "node:path";
import { ConnectError, toConnectError } from "@cluster-connect/protocol";
import type { CliDeps } from "../deps.ts";
import type { SavedSettings } from "../settings/config-file.ts";
import { foldersOf } from "../settings/folders.ts";
import { parseRelayAddress } from "./address.ts";

/** Flags that every command with a relay has. */
export interface RelayFlags {
  readonly relay?: string;
  readonly caFile?: string;
}

/** The relay a command talks to. */
export interface RelayChoice {
  readonly url: URL;
  /** Absolute path of further authorities, already trusted by this process. */
  readonly caFile: string | undefined;
}

/**
 * Finds the relay: `--relay`, then `CLUSTER_CONNECT_RELAY`, then what `login` saved; and trusts `--ca-file`.
 *
 * @param options `skipSaved` leaves the settings' file alone where flags say everything: kubectl starts this program
 *   for each of its own starts. `withoutAuthorities` goes on, with a warning, when they cannot be read: for steps that
 *   need no word to the relay.
 * @throws ConnectError `CC_USAGE` when nothing names one, `CC_FILE_MISSING` for the authorities.
 */
export async function chooseRelay(
  flags: RelayFlags,
  deps: CliDeps,
  options: { readonly skipSaved?: boolean; readonly withoutAuthorities?: boolean } = {},
): Promise<RelayChoice> {
  const fromEnv = deps.env["CLUSTER_CONNECT_RELAY"];
  const named = flags.relay ?? (fromEnv === "" ? undefined : fromEnv);
  const saved = named !== undefined && options.skipSaved === true ? {} : await readSaved(deps);
  const relay = named ?? saved.relay;
  if (relay === undefined) {
    throw new ConnectError("CC_USAGE", "No relay is named", {
      hint: "Give --relay URL or set CLUSTER_CONNECT_RELAY; `cluster-connect login --relay URL` remembers it.",
    });
  }
  const where = flags.relay !== undefined ? "--relay" : named !== undefined ? "CLUSTER_CONNECT_RELAY" : "config.yaml";
  const url = parseRelayAddress(relay, where);
  const isSaved = saved.relay !== undefined && URL.parse(saved.relay)?.origin === url.origin;
  const caFile =
    flags.caFile ?? (deps.env["CLUSTER_CONNECT_CA_FILE"] || undefined) ?? (isSaved ? saved.caFile : undefined);
  if (caFile !== undefined) {
    await trustCaFile(caFile, deps).catch((error: unknown) => {
      if (options.withoutAuthorities !== true) throw error;
      deps.stderr.write(`warning: ${toConnectError(error).message}\n`);
    });
  }
  return { url, caFile: caFile === undefined ? undefined : resolve(caFile) };
}

async function readSaved(deps: CliDeps): Promise<SavedSettings> {
  // YAML is loaded only here, for the same reason.
  const { readSavedSettings } = await import("../settings/config-file.ts");
  return await readSavedSettings(foldersOf(deps));
}

async function trustCaFile(caFile: string, deps: CliDeps): Promise<void> {
  // Loaded only where there is such a file.
  const { readCertificateFile } = await import("../files/certificate-file.ts");
  const { pem, unreadable } = await readCertificateFile(caFile);
  if (unreadable > 0)
    deps.stderr.write(`warning: ${caFile} holds ${unreadable} that cannot be read; the others count\n`);
  deps.trustAuthorities(pem);
}
