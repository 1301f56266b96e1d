import { type MappedIdentity, parseServiceAccount } from "@cluster-connect/auth";
import { ConnectError } from "@cluster-connect/protocol";
import { type ApiserverClient, fieldOf } from "../apiserver/client.ts";
import { MAX_ACTING_ITEMS } from "../limits/limits.ts";

/** One thing that the caller must be allowed to impersonate, as RBAC names it. */
export interface ActingItem {
  readonly group: "" | "authentication.k8s.io";
  readonly resource: "users" | "groups" | "serviceaccounts" | "uids" | "userextras";
  readonly subresource?: string;
  readonly namespace?: string;
  readonly name: string;
}

/** Asks the apiserver whether the real caller may act as another identity. */
export interface AccessReviewer {
  /** @throws ConnectError `CC_IMPERSONATION_DENIED` naming the kind of the first thing that is not allowed. */
  mayActAs(caller: MappedIdentity, acting: MappedIdentity, options: { readonly signal: AbortSignal }): Promise<void>;
}

const PATH = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

export function createAccessReviewer(apiserver: ApiserverClient): AccessReviewer {
  async function assertAllowed(caller: MappedIdentity, item: ActingItem, signal: AbortSignal): Promise<void> {
    const spec = {
      user: caller.username,
      groups: effectiveGroups(caller),
      ...(caller.uid === undefined ? {} : { uid: caller.uid }),
      extra: caller.extra,
      resourceAttributes: { verb: "impersonate", ...item },
    };
    const review = { apiVersion: "authorization.k8s.io/v1", kind: "SubjectAccessReview", spec };
    const answer = await apiserver.create(PATH, review, { signal });
    if (fieldOf(answer, "status", "allowed") === true && fieldOf(answer, "status", "denied") !== true) return;
    const what = item.subresource === undefined ? item.resource : `${item.resource}/${item.subresource}`;
    throw new ConnectError("CC_IMPERSONATION_DENIED", `You may not impersonate one of the ${what} that you ask for`, {
      hint: "Ask the cluster's administrator for the verb impersonate on it, or leave --as away.",
    });
  }
  return {
    async mayActAs(caller, acting, { signal }) {
      const items = actingItems(acting);
      if (items.length > MAX_ACTING_ITEMS) {
        throw new ConnectError("CC_REQUEST_REFUSED", `The request asks to act as more than ${MAX_ACTING_ITEMS} things`);
      }
      await Promise.all(items.map((item) => assertAllowed(caller, item, signal)));
    },
  };
}

/** Everything that an identity consists of, one item for each. */
function actingItems(acting: MappedIdentity): readonly ActingItem[] {
  const account = parseServiceAccount(acting.username);
  const user: ActingItem =
    account === undefined
      ? { group: "", resource: "users", name: acting.username }
      : { group: "", resource: "serviceaccounts", ...account };
  const authentication = "authentication.k8s.io";
  const uid: readonly ActingItem[] =
    acting.uid === undefined ? [] : [{ group: authentication, resource: "uids", name: acting.uid }];
  const groups = acting.groups.map((name): ActingItem => ({ group: "", resource: "groups", name }));
  const extras = Object.entries(acting.extra).flatMap(([key, values]) =>
    values.map((name): ActingItem => ({ group: authentication, resource: "userextras", subresource: key, name })),
  );
  return [user, ...uid, ...groups, ...extras];
}

/** The groups that the apiserver would give this identity: a review takes them as they are. */
function effectiveGroups(identity: MappedIdentity): readonly string[] {
  const account = parseServiceAccount(identity.username);
  const fixed =
    account === undefined || identity.groups.length > 0
      ? []
      : ["system:serviceaccounts", `system:serviceaccounts:${account.namespace}`];
  return [...new Set([...identity.groups, ...fixed, "system:authenticated"])];
}
