import {
  assertName,
  assertNotSystem,
  filterGroups,
  isUsernameOnly,
  type MappedIdentity,
  type Principal,
} from "@cluster-connect/auth";
import { ConnectError } from "@cluster-connect/protocol";
import type { StreamOrigin } from "./proxy-header.ts";

/** Which verbs the apiserver checks for our account; constrained ones take nothing but the name of some users. */
export type ImpersonationMode = "constrained" | "legacy";

export interface IdentityRules {
  readonly mode: ImpersonationMode;
  readonly extraDomain: string;
  readonly clusterId: string;
  /** Rules by issuer. */
  readonly issuers: Readonly<Record<string, IssuerRules>>;
}

export interface IssuerRules {
  readonly allowedSystemNames: readonly string[];
  readonly groups?: readonly string[] | undefined;
}

/** The last part of the keys of our own extras; clients and issuers cannot set these. */
export const OWN_EXTRAS = ["issuer", "subject", "cluster", "session", "correlation-id", "impersonated-by"] as const;

const NO_RULES: IssuerRules = { allowedSystemNames: [] };
const CLUSTER_RULES: IssuerRules = { allowedSystemNames: ["system:serviceaccount:*"] };

/**
 * The caller as RBAC is to see them: names checked, groups filtered. Nothing is repaired.
 *
 * @param by Who vouches for the principal; the cluster itself may name its ServiceAccounts.
 * @throws ConnectError `CC_IDENTITY_REFUSED`.
 */
export function callersIdentity(principal: Principal, by: "issuer" | "cluster", rules: IdentityRules): MappedIdentity {
  const issuer = by === "cluster" ? CLUSTER_RULES : ruleOf(rules.issuers, principal.issuer);
  const { username, uid, extra } = principal;
  assertName("username", username);
  assertNotSystem("username", username, issuer.allowedSystemNames);
  const groups = filterGroups(principal.groups, issuer.groups === undefined ? undefined : { only: issuer.groups });
  for (const group of groups) {
    assertName("group", group);
    assertNotSystem("group", group, issuer.allowedSystemNames);
  }
  refuseOwnExtras(extra, rules.extraDomain);
  return { username, groups, extra, ...(uid === undefined ? {} : { uid }) };
}

/**
 * What is sent to the apiserver: the caller, or whom they act as, with extras that say where the request came from.
 *
 * @param acting Whom the caller may act as, already reviewed.
 */
export function sentIdentity(
  caller: MappedIdentity,
  acting: MappedIdentity | undefined,
  from: { readonly principal: Principal; readonly origin: StreamOrigin },
  rules: IdentityRules,
): MappedIdentity {
  const sent = acting ?? caller;
  refuseOwnExtras(sent.extra, rules.extraDomain);
  if (rules.mode === "constrained" && isUsernameOnly(sent.username)) return usernameOnly(sent);
  const own: Readonly<Record<(typeof OWN_EXTRAS)[number], string | undefined>> = {
    issuer: from.principal.issuer,
    subject: from.principal.subject,
    cluster: rules.clusterId,
    session: from.origin.sessionId,
    "correlation-id": from.origin.correlationId,
    "impersonated-by": acting === undefined ? undefined : caller.username,
  };
  const extra: Record<string, readonly string[]> = { ...sent.extra };
  for (const name of OWN_EXTRAS) {
    const value = own[name];
    if (value !== undefined) extra[`${rules.extraDomain}/${name}`] = [value];
  }
  return { ...sent, extra };
}

/** Constrained impersonation of ServiceAccounts and nodes takes nothing beside the name: the log alone has the rest. */
function usernameOnly(sent: MappedIdentity): MappedIdentity {
  if (sent.groups.length > 0 || Object.keys(sent.extra).length > 0) {
    throw new ConnectError(
      "CC_IDENTITY_REFUSED",
      "The caller's identity is refused: a ServiceAccount or node cannot have groups or extras of its own here",
    );
  }
  return { username: sent.username, groups: [], extra: {} };
}

function refuseOwnExtras(extra: MappedIdentity["extra"], domain: string): void {
  const own = OWN_EXTRAS.find((name) => Object.hasOwn(extra, `${domain}/${name}`));
  if (own === undefined) return;
  throw new ConnectError(
    "CC_IDENTITY_REFUSED",
    `The caller's identity is refused: the extra ${domain}/${own} is the auth proxy's own`,
  );
}

function ruleOf(issuers: IdentityRules["issuers"], issuer: string): IssuerRules {
  return (Object.hasOwn(issuers, issuer) ? issuers[issuer] : undefined) ?? NO_RULES;
}
