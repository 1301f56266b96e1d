import type { AccessToken, AuthorityValidationOptions, TokenCredentialOptions } from "@azure/identity";
import { ConnectError } from "@cluster-connect/protocol";
import type { EntraClient, EntraToken } from "./entra-client.ts";

/** Authorities that Entra's own list knows; asking that list about any other would fail, or tell it of a private one. */
const PUBLIC_AUTHORITIES = new Set([
  "https://login.microsoftonline.com",
  "https://login.microsoftonline.us",
  "https://login.chinacloudapi.cn",
  "https://login.partner.microsoftonline.cn",
]);

/** The part of a credential's options that names authority and tenant. */
export function authorityOptions(
  client: Pick<EntraClient, "authorityHost" | "tenantId">,
): TokenCredentialOptions & AuthorityValidationOptions & { readonly tenantId: string } {
  return {
    authorityHost: client.authorityHost,
    tenantId: client.tenantId,
    disableInstanceDiscovery: !PUBLIC_AUTHORITIES.has(client.authorityHost),
  };
}

export function toEntraToken(found: AccessToken | null): EntraToken {
  if (found === null) throw new ConnectError("CC_LOGIN_FAILED", "Entra gave no token");
  return { token: found.token, expiresAt: new Date(found.expiresOnTimestamp) };
}
