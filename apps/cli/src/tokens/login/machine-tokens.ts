import type { LoginSettings } from "@cluster-connect/api";
import { ConnectError } from "@cluster-connect/protocol";
import type { CliDeps } from "../../deps.ts";
import { foldersOf } from "../../settings/folders.ts";
import { shellWord } from "../../terminal/shell-word.ts";
import {
  acceptClusterAudience,
  acceptRelayAudience,
  type NamedLogin,
  pinnedAudiences,
  requireTwoAudiences,
} from "../audiences.ts";
import type { CallerTokens, TokenOptions } from "../caller-tokens.ts";
import { loginKey, type TokenCache } from "../vault/token-cache.ts";
import type { LoginRecord } from "./login-record.ts";
import { createLoginTokens, type Renew } from "./login-tokens.ts";

/** A caller that gets tokens without a person. */
export type Machine = {
  /** For the screen. */
  readonly name: string;
  /** Tells its kept tokens from others'. */
  readonly key: string;
} & (
  | { readonly kind: "client"; readonly clientId: string }
  /** A build service. */
  | { readonly kind: "service"; readonly hasOwnAudiences: boolean }
);

/** A machine's way to its tokens. */
export interface MachineLogin {
  readonly machine: Machine;
  readonly named: NamedLogin;
  readonly renew: Renew;
}

/** Tokens of a machine, without a sign-in: a login is begun when there is none, or when other audiences are named. */
export function createMachineTokens(
  relay: URL,
  { machine, named, renew }: MachineLogin,
  cache: TokenCache,
  deps: CliDeps,
): CallerTokens {
  const key = loginKey(relay.origin, machine.key);
  const tokens = createLoginTokens(key, relay.origin, cache, renew, deps);
  const isNamed = ({ issuer, audiences }: LoginSettings): boolean =>
    (named.relayAudience ?? audiences.relay) === audiences.relay &&
    (named.clusterAudience ?? audiences.cluster) === audiences.cluster &&
    (machine.kind === "service" || (named.issuer ?? issuer) === issuer);
  return {
    async token(purpose, options) {
      const kept = await cache.read(key, options);
      if (kept === undefined || !isNamed(kept.settings)) {
        const record = await beginMachineLogin(relay, machine, named, options, deps);
        await cache.update(key, options, async (current) =>
          current !== undefined && isNamed(current.settings) ? current : record,
        );
      }
      return await tokens.token(purpose, options);
    },
  };
}

/** A machine's login has no tokens at first. The relay's word about it is believed only where it can do no harm. */
async function beginMachineLogin(
  relay: URL,
  machine: Machine,
  named: NamedLogin,
  options: TokenOptions,
  deps: CliDeps,
): Promise<LoginRecord> {
  const { fetchRelayInfo } = await import("../../relay/api.ts");
  const { openPinnedRelays } = await import("../../settings/pinned-relays.ts");
  const { login } = await fetchRelayInfo(relay, options, deps);
  const pinned = await openPinnedRelays(foldersOf(deps)).find(relay.origin);
  const issuer = machine.kind === "client" ? requireIssuer(named, login, relay) : (login?.issuer ?? relay.origin);
  const sources = {
    relay,
    named,
    pinned: pinnedAudiences(pinned),
    announced: login?.audiences,
    caller: machine.kind === "service" && machine.hasOwnAudiences ? "person" : "machine",
  } as const;
  const audiences = requireTwoAudiences({
    relay: acceptRelayAudience(sources),
    cluster: acceptClusterAudience(sources),
  });
  return {
    relay: relay.origin,
    settings: {
      issuer,
      clientId: machine.kind === "client" ? machine.clientId : (login?.clientId ?? machine.name),
      scopes: [],
      audiences,
      resourceParameter: login?.resourceParameter ?? "resource",
    },
    name: machine.name,
    refreshToken: undefined,
    tokens: {},
  };
}

/** The owner of the secret says where it goes. */
function requireIssuer(named: NamedLogin, login: LoginSettings | null, relay: URL): string {
  if (named.issuer !== undefined) return named.issuer;
  const said = login === null ? "" : `; ${relay.host} names ${shellWord(login.issuer)}, which is not believed`;
  throw new ConnectError("CC_USAGE", `Nothing says to which issuer the client's secret goes${said}`, {
    hint: "Set CLUSTER_CONNECT_ISSUER beside CLUSTER_CONNECT_CLIENT_SECRET.",
  });
}
