import { join } from "node:path";
import { type ClusterId, ConnectError } from "@cluster-connect/protocol";
import { parseDocument, stringify } from "yaml";
import { withFileLock } from "../files/file-lock.ts";
import { makePrivateFolder, writePrivateFile } from "../files/private-file.ts";
import { readTextFileIfAny } from "../files/text-file.ts";
import type { Folders } from "../settings/folders.ts";

/** A cluster whose authorities were accepted once. */
export interface KnownCluster {
  readonly relay: string;
  readonly cluster: string;
  readonly fingerprints: readonly string[];
  readonly trustedAt: string;
  /** PEM. */
  readonly authorities: string;
}

/** The file with the authorities that are trusted, much as ssh's `known_hosts`. */
export interface KnownClusters {
  readonly path: string;
  find(relay: string, cluster: ClusterId): Promise<KnownCluster | undefined>;
  all(): Promise<readonly KnownCluster[]>;
  /** Adds or replaces one. */
  keep(known: KnownCluster, options: { readonly signal: AbortSignal }): Promise<void>;
}

const LOCK_WAIT_MS = 5_000;
const HEADER = `Authorities of clusters that were accepted, each for its own cluster. Compare a fingerprint with the cluster's
administrator; \`cluster-connect clusters trust\` replaces an entry.`;

export function openKnownClusters(folders: Folders): KnownClusters {
  const path = join(folders.config, "known-clusters.yaml");
  const isSame = (one: KnownCluster, relay: string, cluster: string): boolean =>
    one.relay === relay && one.cluster === cluster;
  return {
    path,
    async find(relay, cluster) {
      return (await readKnownClusters(path)).find((known) => isSame(known, relay, cluster));
    },
    all: async () => await readKnownClusters(path),
    async keep(known, { signal }) {
      await makePrivateFolder(folders.config);
      await withFileLock(
        `${path}.lock`,
        { signal, waitMs: LOCK_WAIT_MS },
        () => lockedKnownClusters(path),
        async () => {
          const others = (await readKnownClusters(path)).filter((other) => !isSame(other, known.relay, known.cluster));
          const comment = HEADER.split("\n").map((line) => `# ${line}\n`);
          await writePrivateFile(
            path,
            `${comment.join("")}${stringify({ clusters: [...others, known] }, { lineWidth: 0 })}`,
          );
        },
      );
    },
  };
}

async function readKnownClusters(path: string): Promise<readonly KnownCluster[]> {
  const text = await readTextFileIfAny(path);
  if (text === undefined) return [];
  const document = parseDocument(text, { prettyErrors: false });
  const root: unknown = document.errors.length > 0 ? undefined : document.toJS();
  if (root === null) return [];
  if (typeof root !== "object" || root === undefined || !("clusters" in root) || !Array.isArray(root.clusters)) {
    throw invalidKnownClusters(path);
  }
  return root.clusters.map((value: unknown) => parseKnown(value, path));
}

function parseKnown(value: unknown, path: string): KnownCluster {
  if (typeof value !== "object" || value === null) throw invalidKnownClusters(path);
  const fields: Readonly<Record<string, unknown>> = { ...value };
  const { relay, cluster, authorities, fingerprints } = fields;
  const trustedAt = fields["trustedAt"] instanceof Date ? fields["trustedAt"].toISOString() : fields["trustedAt"];
  if (typeof relay !== "string" || typeof cluster !== "string" || typeof trustedAt !== "string")
    throw invalidKnownClusters(path);
  if (typeof authorities !== "string" || !Array.isArray(fingerprints)) throw invalidKnownClusters(path);
  return { relay, cluster, trustedAt, authorities, fingerprints: fingerprints.map(String) };
}

function invalidKnownClusters(path: string): ConnectError {
  return new ConnectError("CC_FILE_UNREADABLE", `${path} is not a list of known clusters`, {
    hint: "Correct the file, or move it away: every cluster is then asked about again.",
  });
}

function lockedKnownClusters(path: string): ConnectError {
  return new ConnectError("CC_FILE_UNREADABLE", `${path} is being changed by another process for too long`, {
    hint: `Repeat the command; remove ${path}.lock if no process holds it.`,
  });
}
