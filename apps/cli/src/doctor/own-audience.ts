import type { LoginSettings } from "@cluster-connect/api";
import type { ClusterId } from "@cluster-connect/protocol";
import { audiencesOf } from "../tokens/token-audience.ts";
import type { DoctorReport } from "./report.ts";

/** The clusters of one relay, and how people sign in for them. */
export interface ClustersOfRelay {
  /** Of all clusters that the caller may reach, examined or not. */
  readonly ids: readonly ClusterId[];
  /** The relay's word; undefined where it has none. */
  readonly login: LoginSettings | undefined;
  /** Whether people sign in at Entra, whose audiences are applications. */
  readonly isEntra: boolean;
}

const MAX_NAMES = 3;
const ANYWHERE = "give each an audience of its own, with {cluster} in audiences.cluster of the relay.";
const AT_ENTRA = "have an application at Entra for each cluster, and {cluster} in audiences.cluster of the relay.";

/**
 * Warns of tokens that more than one cluster takes: a cluster in hostile hands can use its callers' at the others. An
 * audience that all clusters share is told once.
 *
 * @returns the check of one cluster, by the token that goes to it.
 */
export function createOwnAudienceCheck(
  { ids, login, isEntra }: ClustersOfRelay,
  report: DoctorReport,
): (cluster: ClusterId, token: string) => Promise<void> {
  const seen = new Map<string, ClusterId>();
  const told = new Set<string>();
  return async (cluster, token) => {
    const audiences = audiencesOf(token);
    const common = audiences.find((audience) => audience === login?.audiences.cluster);
    const others = ids.filter((id) => id !== cluster);
    const shared = common !== undefined && others.length > 0 ? common : audiences.find((one) => seen.has(one));
    const other = common === undefined && shared !== undefined ? seen.get(shared) : nameSome(others);
    for (const audience of audiences) if (!seen.has(audience)) seen.set(audience, cluster);
    if (shared === undefined || told.has(shared)) return;
    told.add(shared);
    await report.check(`${cluster}: audience`, async () => ({
      value: false,
      detail: `its tokens, for ${shared}, count at ${other} too`,
      warning: `Whoever breaks into one can use your token at the other: ${isEntra ? AT_ENTRA : ANYWHERE}`,
    }));
  };
}

function nameSome(ids: readonly ClusterId[]): string {
  return ids.length > MAX_NAMES ? `${ids.length} other clusters` : ids.join(", ");
}
