import { ConnectError } from "@cluster-connect/protocol";
import type { Environment } from "../deps.ts";

/** Where an application signs in at Entra. */
export interface EntraAuthority {
  /** Origin, such as `https://login.microsoftonline.com`. */
  readonly authorityHost: string;
  readonly tenantId: string;
}

const PUBLIC_AUTHORITY = "https://login.microsoftonline.com";
const HOSTS = new Set([
  "login.microsoftonline.com",
  "login.microsoftonline.us",
  "login.chinacloudapi.cn",
  "login.partner.microsoftonline.cn",
  "sts.windows.net",
]);
/** A GUID or a domain. */
const TENANT = /^[A-Za-z0-9][A-Za-z0-9.-]{0,253}$/;

/** Whether an issuer is known to be Entra. */
export function isEntraIssuer(issuer: string): boolean {
  return HOSTS.has(URL.parse(issuer)?.host ?? "");
}

/**
 * Authority and tenant of an issuer: `https://HOST/TENANT/v2.0`, or `https://sts.windows.net/TENANT/` of older tokens.
 *
 * @throws ConnectError `CC_USAGE` when it names no tenant.
 */
export function entraAuthority(issuer: string): EntraAuthority {
  const url = URL.parse(issuer);
  const tenantId = url?.pathname.split("/")[1] ?? "";
  if (url === null || !TENANT.test(tenantId)) {
    throw new ConnectError("CC_USAGE", "The issuer names no tenant of Entra", {
      hint: "Give --tenant, or --issuer https://login.microsoftonline.com/TENANT/v2.0.",
    });
  }
  return { authorityHost: url.host === "sts.windows.net" ? PUBLIC_AUTHORITY : url.origin, tenantId };
}

/**
 * The issuer of a tenant, at the authority of another issuer, else `AZURE_AUTHORITY_HOST`, else the public cloud.
 *
 * @throws ConnectError `CC_USAGE`.
 */
export function entraIssuer(tenant: string, beside: string | undefined, env: Environment): string {
  if (!TENANT.test(tenant)) throw new ConnectError("CC_USAGE", "--tenant is neither an id nor a domain");
  const known = beside === undefined ? undefined : entraAuthority(beside).authorityHost;
  const host = known ?? URL.parse(env["AZURE_AUTHORITY_HOST"] ?? "")?.origin ?? PUBLIC_AUTHORITY;
  return `${host}/${tenant}/v2.0`;
}
