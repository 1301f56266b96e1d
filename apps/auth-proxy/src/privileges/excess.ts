import { CLUSTER_UID_RULE, type PolicyRule } from "./rbac.ts";

/** Rules that every account has on a usual cluster. */
const BASELINE: readonly PolicyRule[] = [
  {
    apiGroups: ["authorization.k8s.io"],
    resources: ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
    verbs: ["create"],
  },
  { apiGroups: ["authentication.k8s.io"], resources: ["selfsubjectreviews"], verbs: ["create"] },
  { apiGroups: ["certificates.k8s.io"], resources: ["clustertrustbundles"], verbs: ["get", "list", "watch"] },
  {
    nonResourceURLs: [
      ...["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", "/version", "/version/"],
      ...["/healthz", "/livez", "/readyz", "/.well-known/openid-configuration", "/.well-known/openid-configuration/"],
      ...["/openid/v1/jwks", "/openid/v1/jwks/"],
    ],
    verbs: ["get"],
  },
  // Reviews are ours to make, whether these settings need them or not.
  { apiGroups: ["authorization.k8s.io"], resources: ["subjectaccessreviews"], verbs: ["create"] },
  { apiGroups: ["authentication.k8s.io"], resources: ["tokenreviews"], verbs: ["create"] },
];

/** Extras have no weight beside the names that may be impersonated. */
const EXTRAS = /^impersonate(:user-info)? userextras\//;

/** One verb on one thing, as a line for a person: `get secrets`, `create deployments.apps`, `get /metrics`. */
interface Privilege {
  readonly verb: string;
  readonly on: string;
}

/**
 * Lists an account's privileges beyond the expected ones.
 *
 * @param tolerated Lines as {@link describePrivilege} writes them, which a cluster gives to every account.
 */
export function excessPrivileges(
  granted: readonly PolicyRule[],
  expected: readonly PolicyRule[],
  tolerated: readonly string[],
): readonly string[] {
  const allowed = new Set([...BASELINE, ...expected].flatMap(listPrivileges).map(describePrivilege));
  const excess = granted
    .filter((rule) => !isClusterUidRule(rule))
    .flatMap(listPrivileges)
    .map(describePrivilege);
  return [...new Set(excess)].filter((line) => !allowed.has(line) && !EXTRAS.test(line) && !tolerated.includes(line));
}

/** Whether a rule grants no more than {@link CLUSTER_UID_RULE}; without its name it would grant every namespace. */
function isClusterUidRule({
  apiGroups = [],
  resources = [],
  resourceNames = [],
  nonResourceURLs = [],
  verbs,
}: PolicyRule): boolean {
  return (
    nonResourceURLs.length === 0 &&
    isAlone(apiGroups, CLUSTER_UID_RULE.apiGroups) &&
    isAlone(resources, CLUSTER_UID_RULE.resources) &&
    isAlone(resourceNames, CLUSTER_UID_RULE.resourceNames) &&
    isAlone(verbs, CLUSTER_UID_RULE.verbs)
  );
}

const isAlone = (found: readonly string[], [expected]: readonly string[] = []): boolean =>
  found.length === 1 && found[0] === expected;

/** Every verb on every thing that a rule grants; names only narrow it. */
function listPrivileges(rule: PolicyRule): readonly Privilege[] {
  const resources = (rule.resources ?? []).flatMap((resource) =>
    (rule.apiGroups ?? []).map((group) => (group === "" ? resource : `${resource}.${group}`)),
  );
  const things = [...resources, ...(rule.nonResourceURLs ?? [])];
  return things.flatMap((on) => rule.verbs.map((verb) => ({ verb, on })));
}

function describePrivilege({ verb, on }: Privilege): string {
  return `${verb} ${on}`;
}
