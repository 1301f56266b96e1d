import { stringify } from "yaml";
import { type ImpersonationMode, OWN_EXTRAS } from "./identity.ts";

/** One rule of a Role, as Kubernetes has it. */
export interface PolicyRule {
  readonly apiGroups?: readonly string[];
  readonly resources?: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly nonResourceURLs?: readonly string[];
  readonly verbs: readonly string[];
}

/** What the settings ask of our account. */
export interface PrivilegeNeeds {
  readonly mode: ImpersonationMode;
  readonly extraDomain: string;
  readonly extraKeys: readonly string[];
  /** ServiceAccounts and nodes may be acted as, which takes a review. */
  readonly allowAs: boolean;
  /** ServiceAccounts may call. */
  readonly tokenReview: boolean;
}

const AUTHENTICATION = "authentication.k8s.io";
const RESOURCE_VERBS = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];
const URL_VERBS = ["get", "head", "post", "put", "patch", "delete", "options"];

/** The rules that are right for these settings: impersonate, review, and nothing else. */
export function expectedRules(needs: PrivilegeNeeds): readonly PolicyRule[] {
  const reviews: PolicyRule[] = [
    ...(needs.allowAs ? [review("authorization.k8s.io", "subjectaccessreviews")] : []),
    ...(needs.tokenReview ? [review(AUTHENTICATION, "tokenreviews")] : []),
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
  const userInfo = ["users", "groups", "uids", "userextras/*", ...extraResources(needs)];
  const modes = [
    { mode: "user-info", resources: userInfo },
    ...(needs.allowAs || needs.tokenReview ? [{ mode: "serviceaccount", resources: ["serviceaccounts"] }] : []),
    ...(needs.allowAs ? [{ mode: "arbitrary-node", resources: ["nodes"] }] : []),
  ];
  return modes.flatMap(({ mode, resources }) => [
    { apiGroups: [AUTHENTICATION], resources, verbs: [`impersonate:${mode}`] },
    { apiGroups: ["*"], resources: ["*"], verbs: RESOURCE_VERBS.map((verb) => `impersonate-on:${mode}:${verb}`) },
    { nonResourceURLs: ["*"], verbs: URL_VERBS.map((verb) => `impersonate-on:${mode}:${verb}`) },
  ]);
}

function legacyRules(needs: PrivilegeNeeds): readonly PolicyRule[] {
  const accounts = needs.allowAs || needs.tokenReview ? ["serviceaccounts"] : [];
  return [
    { apiGroups: [""], resources: ["users", "groups", ...accounts], verbs: ["impersonate"] },
    { apiGroups: [AUTHENTICATION], resources: ["uids", ...extraResources(needs)], verbs: ["impersonate"] },
  ];
}

function extraResources({ extraDomain, extraKeys }: PrivilegeNeeds): readonly string[] {
  const keys = [...OWN_EXTRAS.map((name) => `${extraDomain}/${name}`), ...extraKeys];
  return [...new Set(keys)].map((key) => `userextras/${key}`);
}

function review(apiGroup: string, resource: string): PolicyRule {
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
