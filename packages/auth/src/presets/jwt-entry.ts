import { ConnectError } from "@cluster-connect/protocol";

/** One entry of `jwt` as it is written down. */
export interface JwtEntry {
  readonly issuer: {
    readonly url: string;
    readonly discoveryURL?: string;
    readonly certificateAuthority?: string;
    readonly audiences: readonly string[];
    readonly audienceMatchPolicy?: "MatchAny";
  };
  readonly claimValidationRules?: readonly ClaimRuleEntry[];
  readonly claimMappings: {
    readonly username: SourceEntry;
    readonly groups?: SourceEntry;
    readonly uid?: { readonly claim: string };
    readonly extra?: readonly { readonly key: string; readonly valueExpression: string }[];
  };
  readonly userValidationRules?: readonly { readonly expression: string; readonly message: string }[];
}

export interface ClaimRuleEntry {
  readonly expression: string;
  readonly message: string;
}

export type SourceEntry = { readonly claim: string; readonly prefix: string } | { readonly expression: string };

/** Domain of the extras that presets write. */
export const EXTRA_DOMAIN = "connect.cluster-connect.io";

/** No issuer makes a caller a system user or group by the names it writes. */
export const NO_SYSTEM_NAMES: readonly { readonly expression: string; readonly message: string }[] = [
  { expression: "!user.username.startsWith('system:')", message: "a username must not begin with system:" },
  {
    expression: "user.groups.all(group, !group.startsWith('system:'))",
    message: "a group must not begin with system:",
  },
];

/** Audiences as the format wants them. */
export function audiencesOf(
  audiences: readonly string[],
): Pick<JwtEntry["issuer"], "audiences" | "audienceMatchPolicy"> {
  return { audiences, ...(audiences.length > 1 ? { audienceMatchPolicy: "MatchAny" as const } : {}) };
}

/** A CEL string; JSON's escapes are CEL's too. */
function celText(text: string): string {
  return JSON.stringify(text);
}

/** The claim must be one of the values; no rule for no values. */
export function oneOf(claim: string, values: readonly string[] | undefined): readonly ClaimRuleEntry[] {
  if (values === undefined || values.length === 0) return [];
  const list = values.map(celText).join(", ");
  return [{ expression: `claims.?${claim}.orValue("") in [${list}]`, message: `${claim} is not an allowed one` }];
}

/** @throws ConnectError `CC_CONFIG_INVALID` when a public issuer's tokens would not be narrowed to the owner's own. */
export function requireNarrowing(rules: readonly ClaimRuleEntry[], what: string): void {
  if (rules.length > 0) return;
  throw new ConnectError("CC_CONFIG_INVALID", `This issuer signs for everybody: give ${what}`);
}
