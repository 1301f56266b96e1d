import type { LoginSettings } from "@cluster-connect/api";
import {
  type ClusterId,
  ConnectError,
  clusterAudienceOf,
  hasOwnAudiences,
  isAudienceTemplate,
} from "@cluster-connect/protocol";
import { z } from "zod";
import type { Finding } from "../../doctor/report.ts";
import { clusterOfAudience } from "../../tokens/audiences.ts";

const ENTRY = z.object({ issuer: z.object({ audiences: z.array(z.string()) }) });

/**
 * Compares the audiences that a cluster will take with the ones that callers get tokens for.
 *
 * @param jwt the list of Kubernetes' AuthenticationConfiguration, as it is in the file.
 * @param login the relay's word about signing in.
 * @throws ConnectError `CC_CONFIG_INVALID` for another cluster's audience, whose tokens would count here.
 */
export function checkAudiences(
  cluster: ClusterId,
  jwt: readonly unknown[],
  { audiences: { cluster: template } }: Pick<LoginSettings, "audiences">,
): Finding<true> {
  const written = jwt.flatMap((entry) => ENTRY.safeParse(entry).data?.issuer.audiences ?? []);
  const taken = written.map((one) => (isAudienceTemplate(one) ? clusterAudienceOf(one, cluster) : one));
  for (const audience of taken) {
    const owner = clusterOfAudience(template, audience);
    if (owner === undefined || owner === cluster) continue;
    throw new ConnectError("CC_CONFIG_INVALID", `The audience ${audience} is the one of the cluster ${owner}`, {
      hint: `Write ${template} in --authentication: each cluster puts its own name there.`,
    });
  }
  const wanted = clusterAudienceOf(template, cluster);
  if (!taken.includes(wanted)) {
    return {
      value: true,
      detail: `no issuer of --authentication takes tokens for ${wanted}`,
      warning: "That is the audience which the relay tells callers to ask for; they will be refused.",
    };
  }
  if (hasOwnAudiences(template)) return { value: true, detail: `tokens for ${wanted} count at this cluster alone` };
  return {
    value: true,
    detail: `tokens for ${wanted} count at every cluster of this relay: {cluster} in audiences.cluster tells them apart`,
  };
}
