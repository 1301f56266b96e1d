import { ConnectError } from "@cluster-connect/protocol";
import { audiencesOf, EXTRA_DOMAIN, type JwtEntry, NO_SYSTEM_NAMES, oneOf } from "./jwt-entry.ts";

/** Microsoft Entra ID. */
export interface EntraPreset {
  readonly kind: "entra";
  /** Tenants (`tid`) that may sign in; each is an issuer of its own. */
  readonly tenantIds: readonly string[];
  /** The app registration's client id (v2 tokens) or its Application ID URI (v1 tokens). */
  readonly audiences: readonly string[];
  /** `accessTokenAcceptedVersion` of the app registration; 2 unless stated. */
  readonly version?: 1 | 2;
  /** Put before the username (the object id) and before group ids; "entra:" unless stated. */
  readonly prefix?: string;
  /** "allow" takes tokens of apps without a user too, under a username of their own kind; "refuse" unless stated. */
  readonly apps?: "allow" | "refuse";
}

// A user's `sub` is made for the pair of user and app, an app's own is its object id.
const IS_APP = 'claims.?idtyp.orValue("") == "app" || (!has(claims.scp) && claims.?oid.orValue("") == claims.sub)';
const GUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** One entry for each tenant: username from `oid`, which stays when people change their name, the name in an extra. */
export function entra(preset: EntraPreset): readonly JwtEntry[] {
  const { tenantIds, audiences, version = 2, prefix = "entra:", apps = "refuse" } = preset;
  if (tenantIds.length === 0) throw new ConnectError("CC_CONFIG_INVALID", "Entra needs at least one tenant id");
  return tenantIds.map((tenantId) => {
    if (!GUID.test(tenantId)) throw new ConnectError("CC_CONFIG_INVALID", "A tenant id is a lower-case GUID");
    const name = 'claims.?preferred_username.orValue(claims.?upn.orValue(claims.?unique_name.orValue("")))';
    return {
      issuer: { url: issuerUrl(tenantId, version), ...audiencesOf(audiences) },
      claimValidationRules: [
        ...oneOf("tid", [tenantId]),
        { expression: `claims.?ver.orValue("") == "${version}.0"`, message: `ver is not ${version}.0` },
        ...(apps === "allow"
          ? []
          : [{ expression: `!(${IS_APP})`, message: "tokens of apps without a user are not taken" }]),
      ],
      claimMappings: {
        username: { expression: `${JSON.stringify(prefix)} + (${IS_APP} ? "app:" : "") + claims.oid` },
        groups: { claim: "groups", prefix },
        uid: { claim: "oid" },
        extra: [
          { key: `${EXTRA_DOMAIN}/name`, valueExpression: name },
          { key: `${EXTRA_DOMAIN}/tenant`, valueExpression: "claims.tid" },
          { key: `${EXTRA_DOMAIN}/kind`, valueExpression: `(${IS_APP}) ? "app" : "user"` },
        ],
      },
      userValidationRules: NO_SYSTEM_NAMES,
    };
  });
}

function issuerUrl(tenantId: string, version: 1 | 2): string {
  return version === 1 ? `https://sts.windows.net/${tenantId}/` : `https://login.microsoftonline.com/${tenantId}/v2.0`;
}
