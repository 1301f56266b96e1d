import { writeFile } from "node:fs/promises";
import { NAME_PREFIX } from "./authentication.ts";
import type { AdminKubectl } from "./kubectl.ts";
import { repositoryFile } from "./repository-file.ts";

/** First minor version of Kubernetes with constrained impersonation on by default. */
const CONSTRAINED_SINCE = 36;
const ACCOUNT = { namespace: "cluster-connect", name: "cluster-connect-auth-proxy" } as const;
const RBAC = "rbac.authorization.k8s.io";

/** What the demo's users may do: a group each for `view` and `cluster-admin`. */
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

/** What the stack put into the cluster. */
export interface ClusterAccess {
  /** Takes it out again. */
  remove(): Promise<void>;
}

/** Creates the auth proxy's account with its role and the users' bindings, and writes a token of the account. */
export async function grantAccess(tokenPath: string, deps: { readonly kubectl: AdminKubectl }): Promise<ClusterAccess> {
  const { kubectl } = deps;
  const files = ["-f", repositoryFile("deploy/rbac/account.yaml"), "-f", await impersonatorRole(kubectl)];
  await kubectl(["apply", ...files]);
  await kubectl(["apply", "-f", "-"], userBindings());
  const token = await kubectl(["create", "token", ACCOUNT.name, "-n", ACCOUNT.namespace, "--duration=24h"]);
  await writeFile(tokenPath, token.trim(), { mode: 0o600 });
  return {
    remove: async () => {
      const gone = ["--ignore-not-found", "--wait=false"];
      await kubectl(["delete", ...gone, "-f", "-"], userBindings());
      await kubectl(["delete", ...gone, ...files]);
    },
  };
}
