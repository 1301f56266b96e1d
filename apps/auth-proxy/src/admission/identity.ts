import {
  assertName,
  assertNotSystem,
  filterGroups,
  type ImpliedGroups,
  impliedGroups,
  type MappedIdentity,
  type Principal,
} from "@cluster-connect/auth";
import { ConnectError, type StreamOrigin } from "@cluster-connect/protocol";

/** Which verbs the apiserver checks for our account; constrained ones take nothing but the name of some users. */
export type ImpersonationMode = "constrained" | "legacy";

export interface IdentityRules {
  readonly mode: ImpersonationMode;
  readonly extraDomain: string;
  /** Keys of the extras that our account may write beside its own. */
  readonly extraKeys: readonly string[];
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
 * @param by The party that vouches for the principal; the cluster itself may name its ServiceAccounts.
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
 * The identity sent to the apiserver: the caller, or the one they act as. Extras say where the request came from.
 *
 * @param acting The identity that the caller may act as, already reviewed.
 */
export function sentIdentity(
  caller: MappedIdentity,
  acting: MappedIdentity | undefined,
  from: { readonly principal: Principal; readonly origin: StreamOrigin },
  rules: IdentityRules,
): MappedIdentity {
  const sent = acting ?? caller;
  refuseOwnExtras(sent.extra, rules.extraDomain);
  if (acting !== undefined) refuseUnknownExtras(acting, rules);
  const implied = rules.mode === "constrained" ? impliedGroups(sent.username) : undefined;
  if (implied !== undefined) return usernameOnly(sent, implied, acting !== undefined);
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

/**
 * Constrained impersonation of ServiceAccounts and nodes takes nothing beside the name, and adds groups by itself. The
 * log alone has the rest. Groups asked for are left away only where the apiserver adds exactly those. It adds none that
 * the caller would not have without it.
 */
function usernameOnly(sent: MappedIdentity, implied: ImpliedGroups, acting: boolean): MappedIdentity {
  // The apiserver adds this group to every caller.
  const asked = new Set(sent.groups.filter((group) => group !== "system:authenticated"));
  const exactly = asked.size === implied.groups.length && implied.groups.every((group) => asked.has(group));
  if (!exactly && !(asked.size === 0 && implied.always)) {
    const flags = implied.groups.map((group) => `--as-group=${group}`).join(" ");
    throw refusedIdentity(
      `a ServiceAccount or node has exactly the groups ${implied.groups.join(" and ")} here`,
      acting ? `Ask for exactly these groups: ${flags}` : "Have the issuer's mapping give exactly these groups.",
    );
  }
  if (Object.keys(sent.extra).length > 0) {
    throw refusedIdentity("a ServiceAccount or node cannot have extras of its own here", NO_OTHERS);
  }
  if (acting && sent.uid !== undefined) {
    throw refusedIdentity("a ServiceAccount or node cannot have a uid that is asked for here", NO_OTHERS);
  }
  return { username: sent.username, groups: [], extra: {} };
}

const NO_OTHERS = "Leave --as-uid and --as-user-extra away, or ask the administrator for impersonation.mode legacy.";

function refusedIdentity(reason: string, hint: string): ConnectError {
  return new ConnectError("CC_IDENTITY_REFUSED", `The caller's identity is refused: ${reason}`, { hint });
}

/** Our own account's role names each extra that it may write, unless it is a constrained one. */
function refuseUnknownExtras(acting: MappedIdentity, rules: IdentityRules): void {
  if (rules.mode === "constrained") return;
  const unknown = Object.keys(acting.extra).find((key) => !rules.extraKeys.includes(key));
  if (unknown === undefined) return;
  throw new ConnectError("CC_IMPERSONATION_DENIED", "The request asks for an extra that this cluster does not know", {
    hint: "Leave --as-user-extra away, or ask the administrator to add its key to impersonation.extraKeys.",
  });
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
