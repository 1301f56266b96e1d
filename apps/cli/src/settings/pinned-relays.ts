import { join } from "node:path";
import { ConnectError } from "@cluster-connect/protocol";
import { parseDocument, stringify } from "yaml";
import { z } from "zod";
import { withFileLock } from "../files/file-lock.ts";
import { makePrivateFolder, writePrivateFile } from "../files/private-file.ts";
import { readTextFileIfAny } from "../files/text-file.ts";
import type { Folders } from "./folders.ts";

/** Facts that were accepted of a relay at the first login; a relay that says something else later is not believed. */
export interface PinnedRelay {
  /** Its origin. */
  readonly relay: string;
  readonly relayAudience?: string | undefined;
  readonly clusterAudience?: string | undefined;
  readonly issuer?: string | undefined;
  /** Public half of the key that signs the authorities of its clusters. */
  readonly fleetKey?: string | undefined;
}

/** Authorities that a fleet key has taken back. */
export interface SeenRevocations {
  /** The fleet key. */
  readonly key: string;
  /** Of the newest list that was seen; an older one is refused. */
  readonly serial: number;
  readonly revoked: readonly { readonly cluster: string; readonly authorityKey: string }[];
}

interface Pins {
  readonly relays: readonly PinnedRelay[];
  readonly revocations: readonly SeenRevocations[];
}

/** The file with the facts accepted of relays. */
export interface PinnedRelays {
  readonly path: string;
  find(relay: string): Promise<PinnedRelay | undefined>;
  /** Changes what is named, and leaves the rest. */
  keep(pinned: PinnedRelay, options: { readonly signal: AbortSignal }): Promise<void>;
  findRevocations(fleetKey: string): Promise<SeenRevocations | undefined>;
  keepRevocations(seen: SeenRevocations, options: { readonly signal: AbortSignal }): Promise<void>;
}

const LOCK_WAIT_MS = 5_000;
const HEADER =
  "# What was accepted of relays at the first login; `cluster-connect login` with its flags changes an entry.\n";
const TEXT = z.string().min(1);
const PINS: z.ZodType<Pins> = z.object({
  relays: z
    .array(
      z.object({
        relay: TEXT,
        relayAudience: TEXT.optional(),
        clusterAudience: TEXT.optional(),
        issuer: TEXT.optional(),
        fleetKey: TEXT.optional(),
      }),
    )
    .default([]),
  revocations: z
    .array(
      z.object({
        key: TEXT,
        serial: z.int().min(1),
        revoked: z.array(z.object({ cluster: TEXT, authorityKey: TEXT })),
      }),
    )
    .default([]),
});

export function openPinnedRelays(folders: Pick<Folders, "config">): PinnedRelays {
  const path = join(folders.config, "pinned-relays.yaml");

  async function change(make: (pins: Pins) => Pins, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    await makePrivateFolder(folders.config);
    await withFileLock(
      `${path}.lock`,
      { signal, waitMs: LOCK_WAIT_MS },
      () => lockedPins(path),
      async () => await writePrivateFile(path, `${HEADER}${stringify(make(await readPins(path)), { lineWidth: 0 })}`),
    );
  }

  return {
    path,
    async find(relay) {
      return (await readPins(path)).relays.find((pinned) => pinned.relay === relay);
    },
    keep: async (pinned, options) =>
      await change(({ relays, revocations }) => {
        const former = relays.find(({ relay }) => relay === pinned.relay);
        const others = relays.filter((one) => one !== former);
        return { relays: [...others, { ...former, ...pinned }], revocations };
      }, options),
    async findRevocations(fleetKey) {
      return (await readPins(path)).revocations.find(({ key }) => key === fleetKey);
    },
    keepRevocations: async (seen, options) =>
      await change(({ relays, revocations }) => {
        return { relays, revocations: [...revocations.filter(({ key }) => key !== seen.key), seen] };
      }, options),
  };
}

async function readPins(path: string): Promise<Pins> {
  const text = await readTextFileIfAny(path);
  if (text === undefined) return { relays: [], revocations: [] };
  const document = parseDocument(text, { prettyErrors: false });
  const parsed = PINS.safeParse(document.errors.length > 0 ? undefined : document.toJS());
  if (parsed.success) return parsed.data;
  // Never "as if nothing had been accepted": that would let a relay begin anew.
  throw new ConnectError("CC_FILE_UNREADABLE", `${path} does not hold what was accepted of relays`, {
    hint: "Correct the file, or move it away and log in again.",
  });
}

function lockedPins(path: string): ConnectError {
  return new ConnectError("CC_FILE_UNREADABLE", `${path} is being changed by another process for too long`, {
    hint: `Repeat the command; remove ${path}.lock if no process holds it.`,
  });
}
