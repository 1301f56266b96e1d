import { type Clock, wait } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import { errorFields, type Logger } from "@cluster-connect/service";
import type { ImpersonationMode } from "../admission/identity.ts";
import { type ApiserverClient, fieldOf } from "../apiserver/client.ts";
import type { Config } from "../config.ts";
import { START_RETRY_MS } from "../limits/limits.ts";
import { assertPrivileges, checkPrivileges } from "./check.ts";
import { findMode } from "./mode.ts";
import { CLUSTER_UID_RULE, expectedRules, type PrivilegeNeeds, renderRbac } from "./rbac.ts";

export interface OwnAccountDeps {
  readonly apiserver: ApiserverClient;
  readonly clock: Clock;
  readonly log: Logger;
  /** Shows the role that would be right, to be applied as it is. */
  readonly showRbac: (yaml: string) => void;
}

const UNKNOWN_ACCOUNT = { namespace: "cluster-connect", name: "cluster-connect-auth-proxy" };
const SERVICE_ACCOUNT = /^system:serviceaccount:([^:]+):([^:]+)$/;

/**
 * Finds how our account impersonates and proves that it can do that and nothing else. Waits for the apiserver.
 *
 * @throws ConnectError `CC_PRIVILEGE_TOO_WIDE` or `CC_IMPERSONATION_DENIED`, after the right role was shown.
 */
export async function proveOwnAccount(
  config: Pick<Config, "impersonation" | "tokenReview" | "selfCheck" | "toleratedPrivileges">,
  options: { readonly signal: AbortSignal },
  deps: OwnAccountDeps,
): Promise<ImpersonationMode> {
  const { signal } = options;
  for (;;) {
    try {
      const mode = await findMode(config.impersonation.mode, deps.apiserver, { signal });
      if (config.selfCheck) await prove(mode, config, signal, deps);
      return mode;
    } catch (error) {
      const passing = error instanceof ConnectError && ["CC_APISERVER_UNREACHABLE", "CC_TIMEOUT"].includes(error.code);
      if (!passing || signal.aborted) throw error;
      deps.log.warn({ event: "apiserver.awaited", ...errorFields(error) }, "waiting for the kube-apiserver");
      await wait(START_RETRY_MS, { signal }, deps);
    }
  }
}

async function prove(
  mode: ImpersonationMode,
  config: Pick<Config, "impersonation" | "tokenReview" | "toleratedPrivileges">,
  signal: AbortSignal,
  deps: OwnAccountDeps,
): Promise<void> {
  const needs: PrivilegeNeeds = { ...config.impersonation, mode, tokenReview: config.tokenReview.enabled };
  const account = (await ownName(deps.apiserver, signal)) ?? UNKNOWN_ACCOUNT;
  const namespaces = [...new Set([account.namespace, "default", "kube-system"])];
  const checked = { namespaces, tolerated: config.toleratedPrivileges, signal };
  const report = await checkPrivileges(needs, checked, deps.apiserver);
  if (!report.complete)
    deps.log.warn({ event: "privileges.incomplete" }, "not every rule of the account can be listed");
  // The error names a few; an operator who tolerates them needs all.
  if (report.excess.length > 0) {
    deps.log.error({ event: "privileges.excess", privileges: report.excess }, "the account may do too much");
  }
  try {
    assertPrivileges(report);
  } catch (error) {
    deps.showRbac(renderRbac([...expectedRules(needs), CLUSTER_UID_RULE], account));
    throw error;
  }
  deps.log.info({ event: "privileges.proved", mode }, "the account may impersonate and nothing else");
}

async function ownName(
  apiserver: ApiserverClient,
  signal: AbortSignal,
): Promise<{ readonly namespace: string; readonly name: string } | undefined> {
  const review = { apiVersion: "authentication.k8s.io/v1", kind: "SelfSubjectReview" };
  const path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
  const username = fieldOf(await apiserver.create(path, review, { signal }), "status", "userInfo", "username");
  const [, namespace, name] = (typeof username === "string" ? SERVICE_ACCOUNT.exec(username) : null) ?? [];
  return namespace === undefined || name === undefined ? undefined : { namespace, name };
}
