import { stringify } from "yaml";
import { type ImpersonationMode, OWN_EXTRAS } from "../admission/identity.ts";

/** One rule of a Role, as Kubernetes has it. */
export interface PolicyRule {
  readonly apiGroups?: readonly string[];
  readonly resources?: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly nonResourceURLs?: readonly string[];
  readonly verbs: readonly string[];
}

/** Privileges that the settings ask of our account. */
export interface PrivilegeNeeds {
  readonly mode: ImpersonationMode;
  readonly extraDomain: string;
  readonly extraKeys: readonly string[];
  /** The only names that may be impersonated; an empty list allows every name. */
  readonly users: readonly string[];
  readonly groups: readonly string[];
  /** ServiceAccounts and nodes may be acted as, which takes a review. */
  readonly allowAs: boolean;
  /** ServiceAccounts may call. */
  readonly tokenReview: boolean;
}

const AUTHENTICATION = "authentication.k8s.io";
const RESOURCE_VERBS = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];
const URL_VERBS = ["get", "head", "post", "put", "patch", "delete", "options"];

/**
 * Lets the account see which cluster it is in: the UID of this one namespace. A role without it serves, and another
 * cluster under this one's name is not told apart then.
 */
export const CLUSTER_UID_RULE: PolicyRule = {
  apiGroups: [""],
  resources: ["namespaces"],
  resourceNames: ["kube-system"],
  verbs: ["get"],
};

/** The rules that are right for these settings: impersonate, review, and nothing else. */
export function expectedRules(needs: PrivilegeNeeds): readonly PolicyRule[] {
  const reviews: PolicyRule[] = [
    ...(needs.allowAs ? [reviewRule("authorization.k8s.io", "subjectaccessreviews")] : []),
    ...(needs.tokenReview ? [reviewRule(AUTHENTICATION, "tokenreviews")] : []),
  ];
  switch (needs.mode) {
    case "constrained":
      return [...constrainedRules(needs), ...reviews];
    case "legacy":
      return [...legacyRules(needs), ...reviews];
  }
}

function constrainedRules(needs: PrivilegeNeeds): readonly PolicyRule[] {
  // From four extras on the apiserver asks for userextras/* first, and with it once instead of once for each.
  const others = ["uids", "userextras/*", ...extraResources(needs)];
  const who = (mode: string, resource: string): readonly PolicyRule[] => [
    { apiGroups: [AUTHENTICATION], resources: [resource], verbs: [`impersonate:${mode}`] },
  ];
  const modes = [
    { mode: "user-info", rules: whoRules(AUTHENTICATION, "impersonate:user-info", others, needs) },
    ...(needs.allowAs || needs.tokenReview
      ? [{ mode: "serviceaccount", rules: who("serviceaccount", "serviceaccounts") }]
      : []),
    ...(needs.allowAs ? [{ mode: "arbitrary-node", rules: who("arbitrary-node", "nodes") }] : []),
  ];
  return modes.flatMap(({ mode, rules }) => [
    ...rules,
    { apiGroups: ["*"], resources: ["*"], verbs: RESOURCE_VERBS.map((verb) => `impersonate-on:${mode}:${verb}`) },
    { nonResourceURLs: ["*"], verbs: URL_VERBS.map((verb) => `impersonate-on:${mode}:${verb}`) },
  ]);
}

function legacyRules(needs: PrivilegeNeeds): readonly PolicyRule[] {
  const accounts = needs.allowAs || needs.tokenReview ? ["serviceaccounts"] : [];
  return [
    ...whoRules("", "impersonate", accounts, needs),
    { apiGroups: [AUTHENTICATION], resources: ["uids", ...extraResources(needs)], verbs: ["impersonate"] },
  ];
}

/** Users and groups, by name where they are limited, and other resources of the same API group and verb. */
function whoRules(
  apiGroup: string,
  verb: string,
  others: readonly string[],
  { users, groups }: PrivilegeNeeds,
): readonly PolicyRule[] {
  const all = [
    { resource: "users", resourceNames: users },
    { resource: "groups", resourceNames: groups },
  ];
  const free = all.filter(({ resourceNames }) => resourceNames.length === 0).map(({ resource }) => resource);
  const limited = all.filter(({ resourceNames }) => resourceNames.length > 0);
  const resources = [...free, ...others];
  return [
    ...(resources.length === 0 ? [] : [{ apiGroups: [apiGroup], resources, verbs: [verb] }]),
    ...limited.map(({ resource, resourceNames }) => ({
      apiGroups: [apiGroup],
      resources: [resource],
      resourceNames,
      verbs: [verb],
    })),
  ];
}

function extraResources({ extraDomain, extraKeys }: PrivilegeNeeds): readonly string[] {
  const keys = [...OWN_EXTRAS.map((name) => `${extraDomain}/${name}`), ...extraKeys];
  return [...new Set(keys)].map((key) => `userextras/${key}`);
}

function reviewRule(apiGroup: string, resource: string): PolicyRule {
  return { apiGroups: [apiGroup], resources: [resource], verbs: ["create"] };
}

/** The rules as a ClusterRole and its binding, to be applied as they are. */
export function renderRbac(
  rules: readonly PolicyRule[],
  account: { readonly namespace: string; readonly name: string },
): string {
  const name = "cluster-connect-impersonator";
  const role = { apiVersion: "rbac.authorization.k8s.io/v1", kind: "ClusterRole", metadata: { name }, rules };
  const binding = {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRoleBinding",
    metadata: { name },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name },
    subjects: [{ kind: "ServiceAccount", ...account }],
  };
  return [role, binding].map((object) => stringify(object, { aliasDuplicateObjects: false })).join("---\n");
}
