import { ConnectError } from "@cluster-connect/protocol";
import type { Environment } from "../deps.ts";
import type { LoginSettings, ResourceParameter } from "../relay-api.ts";
import type { EntraLogin } from "../tokens/entra-login.ts";
import { entraIssuer, isEntraIssuer } from "./entra-authority.ts";
import type { EntraFlags } from "./entra-flags.ts";

/** Flags that say where and for what to sign in, in place of the relay's choice. */
export interface SettingsFlags extends EntraFlags {
  readonly issuer?: string;
  readonly scope?: readonly string[];
  readonly relayAudience?: string;
  readonly clusterAudience?: string;
  readonly resourceParameter?: ResourceParameter;
}

const SCOPES: readonly string[] = ["openid", "profile", "email", "offline_access"];

/**
 * The relay's settings with the flags over them.
 *
 * @param relay its origin, for the message.
 * @throws ConnectError `CC_USAGE` naming what neither the relay nor a flag says.
 */
export function loginSettings(
  flags: SettingsFlags,
  fromRelay: LoginSettings | null,
  relay: string,
  { machine, env }: { readonly machine: EntraLogin | undefined; readonly env: Environment },
): LoginSettings {
  const tenant = flags.tenant ?? (fromRelay === null && machine !== undefined ? env["AZURE_TENANT_ID"] : undefined);
  const beside = flags.issuer ?? fromRelay?.issuer;
  const issuer = tenant === undefined ? beside : entraIssuer(tenant, beside, env);
  const clientId = flags.clientId ?? clientFor(machine, fromRelay, env);
  const relayAudience = flags.relayAudience ?? fromRelay?.audiences.relay;
  const clusterAudience = flags.clusterAudience ?? fromRelay?.audiences.cluster;
  const missing = [
    issuer === undefined ? "--issuer" : "",
    clientId === undefined ? "--client-id" : "",
    relayAudience === undefined ? "--relay-audience" : "",
    clusterAudience === undefined ? "--cluster-audience" : "",
  ].filter((flag) => flag !== "");
  if (issuer === undefined || clientId === undefined || relayAudience === undefined || clusterAudience === undefined) {
    throw new ConnectError("CC_USAGE", `${relay} does not say how to sign in; missing: ${missing.join(", ")}`, {
      hint: "Ask the relay's administrator for these, or give tokens with --token-file and --relay-token-file.",
    });
  }
  if (URL.parse(issuer) === null) throw new ConnectError("CC_USAGE", "--issuer is no address");
  const isEntra = machine !== undefined || flags.entra === true || isEntraIssuer(issuer);
  return {
    issuer,
    clientId,
    scopes: flags.scope ?? fromRelay?.scopes ?? SCOPES,
    audiences: { relay: relayAudience, cluster: clusterAudience },
    resourceParameter: flags.resourceParameter ?? fromRelay?.resourceParameter ?? (isEntra ? "scope" : "resource"),
  };
}

/** The relay names the client that people sign in with, which is not the one of a service principal. */
function clientFor(
  machine: EntraLogin | undefined,
  fromRelay: LoginSettings | null,
  env: Environment,
): string | undefined {
  switch (machine?.kind) {
    case "managedIdentity":
    case "azureCli":
      return fromRelay?.clientId ?? machine.kind;
    case "secret":
    case "certificate":
    case "federatedTokenFile":
    case "pipeline":
      return env["AZURE_CLIENT_ID"] || undefined;
    case "person":
    case undefined:
      return fromRelay?.clientId;
  }
}
