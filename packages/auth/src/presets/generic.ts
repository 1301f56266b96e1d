import { audiencesOf, type JwtEntry, NO_SYSTEM_NAMES, type SourceEntry } from "./jwt-entry.ts";

/** Any issuer of OpenID Connect. */
export interface GenericPreset {
  readonly kind: "oidc";
  readonly url: string;
  readonly audiences: readonly string[];
  /** "sub" unless stated. */
  readonly usernameClaim?: string;
  /** The issuer's URL and # unless stated, as in Kubernetes. */
  readonly usernamePrefix?: string;
  /** No groups unless stated. */
  readonly groupsClaim?: string;
  /** As the username's unless stated. */
  readonly groupsPrefix?: string;
  /** PEM, when the system does not trust the issuer's certificate. */
  readonly certificateAuthority?: string;
}

/** Plain claims with a prefix, so that two issuers cannot name the same user. */
export function generic(preset: GenericPreset): JwtEntry {
  const { url, certificateAuthority, usernameClaim = "sub", usernamePrefix = `${url}#`, groupsClaim } = preset;
  const groups: SourceEntry | undefined =
    groupsClaim === undefined ? undefined : { claim: groupsClaim, prefix: preset.groupsPrefix ?? usernamePrefix };
  return {
    issuer: {
      url,
      ...(certificateAuthority === undefined ? {} : { certificateAuthority }),
      ...audiencesOf(preset.audiences),
    },
    claimMappings: {
      username: { claim: usernameClaim, prefix: usernamePrefix },
      ...(groups === undefined ? {} : { groups }),
    },
    userValidationRules: NO_SYSTEM_NAMES,
  };
}
