import type { CliDeps } from "../deps.ts";
import { readTextFile } from "../files/text-file.ts";
import { foldersOf } from "../settings/folders.ts";
import { openPinnedRelays } from "../settings/pinned-relays.ts";
import { type FleetKey, readFleetKey } from "./fleet-key.ts";
import { parseRevocations, type RevokedAuthority, requireNewer } from "./revocations.ts";

/** The key that names the authorities of a relay's clusters, and the authorities that it has taken back. */
export interface Fleet {
  readonly key: FleetKey;
  readonly revoked: readonly RevokedAuthority[];
}

export interface FleetFlags {
  readonly fleetKey?: string;
  readonly fleetRevocations?: string;
}

/**
 * Finds the fleet key: `--fleet-key`, `CLUSTER_CONNECT_FLEET_KEY`, else what `login` was given. A list of revocations is
 * remembered, so that no older one counts later.
 *
 * @throws ConnectError `CC_FLEET_KEY_INVALID`, `CC_REVOCATIONS_REFUSED`, `CC_FILE_MISSING`.
 */
export async function loadFleet(
  relay: URL,
  flags: FleetFlags,
  options: { readonly signal: AbortSignal },
  deps: Pick<CliDeps, "env" | "homeDir">,
): Promise<Fleet | undefined> {
  const pins = openPinnedRelays(foldersOf(deps));
  const variable = deps.env["CLUSTER_CONNECT_FLEET_KEY"] || undefined;
  const given = flags.fleetKey ?? variable ?? (await pins.find(relay.origin))?.fleetKey;
  if (given === undefined) return undefined;
  const where = flags.fleetKey !== undefined ? "--fleet-key" : "CLUSTER_CONNECT_FLEET_KEY";
  const key = await readFleetKey(given, where);
  const seen = await pins.findRevocations(key.text);
  const path = flags.fleetRevocations ?? (deps.env["CLUSTER_CONNECT_FLEET_REVOCATIONS"] || undefined);
  if (path === undefined) return { key, revoked: seen?.revoked ?? [] };
  const list = parseRevocations(await readTextFile(path), path, key);
  requireNewer(list, seen, path);
  const { serial, revoked } = list;
  if (seen?.serial !== serial) await pins.keepRevocations({ key: key.text, serial, revoked }, options);
  return { key, revoked };
}
