import { ConnectError, isClusterAudience } from "@cluster-connect/protocol";
import { shellWord } from "../terminal/shell-word.ts";
import { clusterOfAudience } from "./audiences.ts";
import { unverifiedClaims } from "./stored-token.ts";

const GUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** The audiences that a token names; empty for one that names none. */
export function audiencesOf(token: string): readonly string[] {
  const { aud } = unverifiedClaims(token);
  return (Array.isArray(aud) ? aud : [aud]).filter((audience) => typeof audience === "string");
}

/**
 * Checks that a token which goes to the relay is for the relay. An issuer that does not know how the audience is named
 * gives a token for something else.
 *
 * @param how Entra names an application by its id in some tokens, also when it was asked by another name.
 * @throws ConnectError `CC_TOKEN_AUDIENCE`
 */
export function requireRelayToken(token: string, audience: string, how: { readonly isEntra: boolean }): void {
  const found = audiencesOf(token);
  if (found.includes(audience)) return;
  const asked = audience.replace(/^api:\/\//, "");
  const isById = how.isEntra && found.length === 1 && GUID.test(found[0] ?? "");
  if (isById && (!GUID.test(asked) || asked.toLowerCase() === found[0]?.toLowerCase())) return;
  const said = found.length === 0 ? "does not say for whom it is" : `is for ${found.map(shellWord).join(", ")}`;
  throw new ConnectError("CC_TOKEN_AUDIENCE", `The token from the issuer ${said}, not for ${shellWord(audience)}`, {
    hint: "It is not sent to the relay. Have the issuer give tokens for the relay's audience, or name another with --relay-audience.",
  });
}

/**
 * Checks that no cluster takes a token which goes to the relay.
 *
 * @param clusters the clusters' audience, which may hold `{cluster}`.
 * @throws ConnectError `CC_AUDIENCE_REFUSED`
 */
export function requireNoClusterToken(token: string, clusters: string): void {
  const shared = audiencesOf(token).filter((audience) => isClusterAudience(clusters, audience));
  if (shared.length === 0) return;
  throw new ConnectError("CC_AUDIENCE_REFUSED", `The relay's token is for ${shared.map(shellWord).join(", ")} too`, {
    hint: "Have the issuer give a token for the relay alone: otherwise the relay could use yours at a cluster.",
  });
}

/**
 * Checks that no other cluster takes a token which goes to one, where each has an audience of its own.
 *
 * @param clusters the clusters' audience, which may hold `{cluster}`.
 * @param audience the one of the cluster that the token goes to.
 * @throws ConnectError `CC_TOKEN_AUDIENCE`
 */
export function requireOneCluster(token: string, clusters: string, audience: string): void {
  const found = audiencesOf(token);
  // Entra names an application by its id, which is no cluster's.
  const other = found.find(
    (one) => one !== audience && clusterOfAudience(clusters, one) !== undefined && !GUID.test(one),
  );
  if (other === undefined) return;
  const how = found.includes(audience) ? "as well" : "instead";
  throw new ConnectError(
    "CC_TOKEN_AUDIENCE",
    `The token for ${shellWord(audience)} is for ${shellWord(other)} ${how}`,
    {
      hint: "It is not sent: one cluster could use it at the other. Have the issuer give each cluster a token of its own.",
    },
  );
}

/**
 * Checks that a token for the relay and one for a cluster share no audience.
 *
 * @throws ConnectError `CC_AUDIENCE_REFUSED`
 */
export function requireDifferentTokens(relayToken: string, clusterToken: string): void {
  const shared = audiencesOf(relayToken).filter((audience) => audiencesOf(clusterToken).includes(audience));
  if (shared.length === 0 && relayToken !== clusterToken) return;
  const text = shared.length === 0 ? "the same token" : `tokens for ${shared.map(shellWord).join(", ")}`;
  throw new ConnectError("CC_AUDIENCE_REFUSED", `Relay and clusters would both take ${text}`, {
    hint: "Give two tokens for different audiences: otherwise the relay could use yours at a cluster.",
  });
}
