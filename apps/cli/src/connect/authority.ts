import { type ClusterId, ConnectError } from "@cluster-connect/protocol";
import { z } from "zod";
import { type Authorities, parseAuthorities } from "../cluster/authorities.ts";
import { openKnownClusters } from "../cluster/known-clusters.ts";
import type { CliDeps } from "../deps.ts";
import { parseJson } from "../json.ts";
import { foldersOf } from "../settings/folders.ts";
import { RELEASE } from "./installation.ts";
import { type ClusterTools, lastLine } from "./tool.ts";

const SECRET = z.object({ data: z.object({ "authority.pem": z.string() }) });

/**
 * Reads a cluster's authorities from the cluster, not from the relay.
 *
 * @throws ConnectError `CC_INSTALL_FAILED` when they are not there.
 */
export async function readAuthorities(namespace: string, tools: ClusterTools): Promise<Authorities> {
  const name = `${RELEASE}-identity`;
  const asked = await tools.kubectl(["get", "secret", name, "--namespace", namespace, "--output", "json"]);
  const found = SECRET.safeParse(parseJson(asked.stdout));
  if (!found.success)
    throw new ConnectError("CC_INSTALL_FAILED", `The secret ${name} has no authority: ${lastLine(asked)}`);
  const text = Buffer.from(found.data.data["authority.pem"], "base64").toString("utf8");
  return parseAuthorities(text, `The secret ${name}`);
}

/** Remembers them as the cluster's: the installing person has seen them where they are made. */
export async function trustReadAuthority(
  found: { readonly relay: URL; readonly cluster: ClusterId; readonly authorities: Authorities },
  options: { readonly signal: AbortSignal },
  deps: CliDeps,
): Promise<void> {
  const { relay, cluster, authorities } = found;
  await openKnownClusters(foldersOf(deps)).keep(
    {
      relay: relay.origin,
      cluster,
      fingerprints: authorities.fingerprints,
      trustedAt: new Date(deps.now()).toISOString(),
      authorities: authorities.pem,
    },
    options,
  );
}
