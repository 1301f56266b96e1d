import type { LoginSettings, ResourceParameter } from "@cluster-connect/api";
import { ConnectError } from "@cluster-connect/protocol";
import type { Environment } from "../deps.ts";
import type { PinnedRelay } from "../settings/pinned-relays.ts";
import { shellWord } from "../terminal/shell-word.ts";
import {
  acceptClusterAudience,
  acceptRelayAudience,
  type NamedLogin,
  pinnedAudiences,
  requireTwoAudiences,
} from "../tokens/audiences.ts";
import type { EntraLogin } from "../tokens/login/entra-login.ts";
import { entraIssuer, isEntraIssuer } from "./entra-authority.ts";
import type { EntraFlags } from "./entra-flags.ts";
import { scopesFrom } from "./scopes.ts";

/** Flags that name the issuer and the audiences of a login, in place of the relay's choice. */
export interface SettingsFlags extends EntraFlags {
  readonly issuer?: string;
  readonly scope?: readonly string[];
  readonly relayAudience?: string;
  readonly clusterAudience?: string;
  readonly resourceParameter?: ResourceParameter;
}

/** The sources that decide about a login, beside its flags. */
export interface LoginSources {
  readonly relay: URL;
  readonly named: NamedLogin;
  readonly pinned: PinnedRelay | undefined;
  readonly announced: LoginSettings | null;
  /** How a machine signs in; undefined for a person. */
  readonly machine: EntraLogin | undefined;
  readonly env: Environment;
}

const SCOPES: readonly string[] = ["openid", "profile", "email", "offline_access"];
/** The kinds of login with a proof that is secret, or can be exchanged for more. */
const SECRET: ReadonlySet<EntraLogin["kind"]> = new Set<EntraLogin["kind"]>([
  "secret",
  "certificate",
  "federatedTokenFile",
  "pipeline",
]);

/**
 * The settings to sign in with: the person's own word, then settings that were accepted before, then the relay's.
 *
 * @throws ConnectError `CC_USAGE` naming the settings that no source has, `CC_AUDIENCE_REFUSED` for one that only the
 *   relay names and must not.
 */
export function loginSettings(flags: SettingsFlags, sources: LoginSources): LoginSettings {
  const { announced, machine, env, relay } = sources;
  const issuer = chooseIssuer(flags, sources);
  const clientId = flags.clientId ?? clientFor(machine, announced, env);
  const missing = [
    issuer === undefined ? "--issuer" : "",
    clientId === undefined ? "--client-id" : "",
    sources.named.clusterAudience === undefined && announced === null && sources.pinned?.clusterAudience === undefined
      ? "--cluster-audience"
      : "",
  ].filter((flag) => flag !== "");
  if (issuer === undefined || clientId === undefined || missing.length > 0) {
    throw new ConnectError("CC_USAGE", `${relay.origin} does not say how to sign in; missing: ${missing.join(", ")}`, {
      hint: "Ask the relay's administrator for these, or give tokens with --token-file and --relay-token-file.",
    });
  }
  if (URL.parse(issuer) === null) throw new ConnectError("CC_USAGE", "--issuer is no address");
  const isEntra = machine !== undefined || flags.entra === true || isEntraIssuer(issuer);
  return {
    issuer,
    clientId,
    ...announcedSecret(issuer, clientId, announced),
    scopes: flags.scope ?? scopesFrom(announced?.scopes ?? SCOPES),
    audiences: chooseAudiences(sources),
    resourceParameter: flags.resourceParameter ?? announced?.resourceParameter ?? (isEntra ? "scope" : "resource"),
  };
}

/** The secret of the announced client goes to its own issuer, and with its own id. */
function announcedSecret(
  issuer: string,
  clientId: string,
  announced: LoginSettings | null,
): Pick<LoginSettings, "clientSecret"> {
  if (announced?.clientSecret === undefined) return {};
  return announced.issuer === issuer && announced.clientId === clientId ? { clientSecret: announced.clientSecret } : {};
}

function chooseAudiences({ relay, named, pinned, announced, machine }: LoginSources): LoginSettings["audiences"] {
  const caller = machine === undefined ? "person" : "machine";
  const all = { relay, named, pinned: pinnedAudiences(pinned), announced: announced?.audiences, caller } as const;
  return requireTwoAudiences({ relay: acceptRelayAudience(all), cluster: acceptClusterAudience(all) });
}

/** Where to sign in. A machine's secret, certificate or token goes only where its owner says. */
function chooseIssuer(flags: SettingsFlags, sources: LoginSources): string | undefined {
  const { named, pinned, announced, machine, env, relay } = sources;
  if (machine !== undefined && SECRET.has(machine.kind)) {
    const tenant = flags.tenant ?? (named.issuer === undefined ? env["AZURE_TENANT_ID"] || undefined : undefined);
    if (tenant !== undefined) return entraIssuer(tenant, named.issuer, env);
    if (named.issuer !== undefined) return named.issuer;
    throw new ConnectError(
      "CC_USAGE",
      "Nothing but the relay says to which tenant of Entra the application's proof goes",
      {
        hint: "Give --tenant (AZURE_TENANT_ID), or --issuer for another cloud.",
      },
    );
  }
  const said = announced?.issuer;
  if (flags.tenant !== undefined) return entraIssuer(flags.tenant, named.issuer ?? said, env);
  if (named.issuer !== undefined) return named.issuer;
  if (pinned?.issuer === undefined || said === undefined || said === pinned.issuer) return said ?? pinned?.issuer;
  throw new ConnectError(
    "CC_AUDIENCE_REFUSED",
    `${relay.host} sends people to ${shellWord(said)} now; so far they signed in at ${shellWord(pinned.issuer)}`,
    {
      hint: `If the administrator says so too: cluster-connect login --relay ${relay.origin} --issuer ${shellWord(said)}`,
    },
  );
}

/** The relay names the client that people sign in with, which is not the one of a service principal. */
function clientFor(
  machine: EntraLogin | undefined,
  announced: LoginSettings | null,
  env: Environment,
): string | undefined {
  switch (machine?.kind) {
    case "managedIdentity":
    case "azureCli":
      return announced?.clientId ?? machine.kind;
    case "secret":
    case "certificate":
    case "federatedTokenFile":
    case "pipeline":
      return env["AZURE_CLIENT_ID"] || undefined;
    case "person":
    case undefined:
      return announced?.clientId;
  }
}
