import { writeFile } from "node:fs/promises";
import { ConnectError } from "@cluster-connect/protocol";
import { NAME_PREFIX } from "./authentication.ts";
import type { AdminKubectl } from "./kubectl.ts";
import { repositoryFile } from "./repository-file.ts";

/** First minor version of Kubernetes with constrained impersonation on by default. */
const CONSTRAINED_SINCE = 36;
const ACCOUNT_FILE: string = repositoryFile("deploy/rbac/account.yaml");
const ACCOUNT = { namespace: "cluster-connect", name: "cluster-connect-auth-proxy" } as const;
const RBAC = "rbac.authorization.k8s.io";

/** The rights of the demo's users: a group each for `view` and `cluster-admin`. */
function userBindings(): string {
  const roles = { view: "viewers", "cluster-admin": "admins" };
  const items = Object.entries(roles).map(([role, group]) => ({
    apiVersion: `${RBAC}/v1`,
    kind: "ClusterRoleBinding",
    metadata: { name: `cluster-connect-demo-${group}` },
    roleRef: { apiGroup: RBAC, kind: "ClusterRole", name: role },
    subjects: [{ kind: "Group", apiGroup: RBAC, name: `${NAME_PREFIX}${group}` }],
  }));
  return JSON.stringify({ apiVersion: "v1", kind: "List", items });
}

async function impersonatorRole(kubectl: AdminKubectl): Promise<string> {
  const version: unknown = JSON.parse(await kubectl(["get", "--raw", "/version"]));
  const minor =
    typeof version === "object" && version !== null && "minor" in version
      ? Number.parseInt(String(version.minor), 10)
      : 0;
  return repositoryFile(`deploy/rbac/${minor >= CONSTRAINED_SINCE ? "constrained" : "legacy"}.yaml`);
}

/**
 * Makes sure that taking our objects out of a cluster again takes out nothing else.
 *
 * @throws ConnectError `CC_KUBERNETES_UNAVAILABLE` when the cluster has our namespace already.
 */
export async function expectNoInstallation(kubectl: AdminKubectl): Promise<void> {
  const found = await kubectl(["get", "namespace", ACCOUNT.namespace, "--ignore-not-found", "-o", "name"]);
  if (found.trim() === "") return;
  throw new ConnectError("CC_KUBERNETES_UNAVAILABLE", `The cluster has a namespace ${ACCOUNT.namespace} already`, {
    hint: "The demo would take away what is installed there. Use another cluster, or remove that first.",
  });
}

/** Creates the auth proxy's account with its role and the users' bindings, and writes a token of the account. */
export async function grantAccess(tokenPath: string, deps: { readonly kubectl: AdminKubectl }): Promise<void> {
  const { kubectl } = deps;
  await kubectl(["apply", "-f", ACCOUNT_FILE, "-f", await impersonatorRole(kubectl)]);
  await kubectl(["apply", "-f", "-"], userBindings());
  const token = await kubectl(["create", "token", ACCOUNT.name, "-n", ACCOUNT.namespace, "--duration=24h"]);
  await writeFile(tokenPath, token.trim(), { mode: 0o600 });
}

/** Takes out again what {@link grantAccess} put into a cluster, also when it got only half way. */
export async function revokeAccess(kubectl: AdminKubectl): Promise<void> {
  const gone = ["--ignore-not-found", "--timeout=30s"];
  await kubectl(["delete", ...gone, "-f", "-"], userBindings());
  await kubectl(["delete", ...gone, "-f", await impersonatorRole(kubectl), "-f", ACCOUNT_FILE]);
}
