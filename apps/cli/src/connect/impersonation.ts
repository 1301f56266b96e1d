import type { DoctorReport, Finding } from "../doctor/report.ts";
import type { Confirm } from "../terminal/confirm.ts";

/** Flags that say as whom the auth proxy may act. */
export interface ImpersonationFlags {
  readonly impersonateUser?: readonly string[];
  readonly impersonateGroup?: readonly string[];
}

/** The users and groups that the auth proxy may act as; an empty list means any. */
interface Narrowing {
  readonly users: readonly string[];
  readonly groups: readonly string[];
}

const USERS =
  "The auth proxy acts as your callers. Which users may it act as, separated by commas (empty: any, Kubernetes' own too)? ";
const GROUPS = "And which groups (empty: any, system:masters too)? ";

/**
 * Finds out as whom the auth proxy may act, and says what follows. Users and groups are asked for apart, as each list
 * narrows its own kind alone.
 *
 * @param ask undefined where nobody can be asked.
 * @returns values for the chart; none where nothing is narrowed.
 */
export async function narrowImpersonation(
  flags: ImpersonationFlags,
  ask: Confirm | undefined,
  report: DoctorReport,
  options: { readonly signal: AbortSignal },
): Promise<{ readonly rbac?: Narrowing }> {
  const isGiven = flags.impersonateUser !== undefined || flags.impersonateGroup !== undefined;
  const asked = isGiven ? undefined : ask;
  const users = flags.impersonateUser ?? names(await asked?.(USERS, options));
  const groups = flags.impersonateGroup ?? names(await asked?.(GROUPS, options));
  await report.check("impersonation", async () => describeNarrowing({ users, groups }));
  return users.length + groups.length === 0 ? {} : { rbac: { users, groups } };
}

/** Tells as whom an attacker who has the auth proxy could act, and how that becomes less. */
export function describeNarrowing({ users, groups }: Narrowing): Finding<boolean> {
  const as = `as ${users.join(", ") || "any user"}, and with ${groups.length === 0 ? "any group" : `${groups.join(", ")} alone`}`;
  if (groups.length === 0) {
    const warning =
      "Name the groups, and the users too: --impersonate-group NAME --impersonate-user NAME; leave system:masters out.";
    return { value: false, detail: `${as}, system:masters too: the auth proxy is cluster-admin`, warning };
  }
  if (users.length > 0) return { value: true, detail: as };
  const warning =
    "Name the users, too: --impersonate-user NAME. RBAC knows no patterns, so a new caller is added by `upgrade --set`.";
  return { value: false, detail: `${as}; so also as Kubernetes' own users, such as system:kube-scheduler`, warning };
}

function names(answer: string | undefined): readonly string[] {
  return (answer ?? "")
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "");
}
