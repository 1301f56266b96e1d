import { listAgentKeys } from "../store/queries/agent-keys.ts";
import { listClusters } from "../store/queries/clusters.ts";
import type { Store } from "../store/store.ts";
import type { Output } from "./command-line.ts";

/** Every cluster in the store, with its valid agent keys and when it was last seen. */
export async function describeClusters(store: Store, output: Output): Promise<string> {
  const keys = await listAgentKeys(store.db);
  const clusters = (await listClusters(store.db)).map(({ id, lastSeenAt }) => ({
    id,
    lastSeenAt: lastSeenAt?.toISOString() ?? null,
    keys: keys.filter(({ clusterId }) => clusterId === id),
  }));
  if (output === "json") {
    const plain = clusters.map((cluster) => ({ ...cluster, keys: cluster.keys.map(({ keyId }) => keyId) }));
    return JSON.stringify({ clusters: plain });
  }
  const rows = clusters.flatMap(({ id, lastSeenAt, keys: own }) => {
    const [first = "none", ...others] = own.map(({ keyId, state }) =>
      state === "pending" ? `${keyId} (not used yet)` : keyId,
    );
    return [[id, lastSeenAt ?? "never", first], ...others.map((key) => ["", "", key])];
  });
  return table([["CLUSTER", "LAST SEEN", "KEY"], ...rows]);
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("   ")
        .trimEnd(),
    )
    .join("\n");
}
