import { ConnectError } from "@cluster-connect/protocol";
import type { TokenEndpointResponse } from "openid-client";
import type { CliDeps } from "../deps.ts";
import { signInByBrowser } from "../login/browser-sign-in.ts";
import { signInByDevice } from "../login/device-sign-in.ts";
import { discoverIssuer } from "../login/oidc.ts";
import { hasBrowser } from "../login/open-browser.ts";
import { completeSignIn } from "../login/sign-in.ts";
import { fetchRelayInfo, type LoginSettings, type ResourceParameter } from "../relay-api.ts";
import { createScreen, type Screen } from "../screen.ts";
import { saveSettings } from "../settings/config-file.ts";
import { foldersOf } from "../settings/folders.ts";
import { chooseRelay, type RelayFlags } from "../settings/relay-choice.ts";
import { openTokenCache } from "../tokens/choose-tokens.ts";
import { describeKept } from "../tokens/kept-how.ts";
import { loginKey } from "../tokens/token-cache.ts";
import type { CommandContext } from "./context.ts";

export interface LoginFlags extends RelayFlags {
  readonly deviceCode?: boolean;
  /** False: print the address and leave opening it to the person. */
  readonly browser?: boolean;
  readonly issuer?: string;
  readonly clientId?: string;
  readonly scope?: readonly string[];
  readonly relayAudience?: string;
  readonly clusterAudience?: string;
  readonly resourceParameter?: ResourceParameter;
}

const SCOPES: readonly string[] = ["openid", "profile", "email", "offline_access"];

/** Signs the person in for a relay and its clusters, and remembers the relay. */
export async function login(flags: LoginFlags, { deps, signal }: CommandContext): Promise<void> {
  const screen = createScreen(deps, { quiet: false });
  const relay = await chooseRelay(flags, deps);
  const info = await fetchRelayInfo(relay.url, { signal }, deps);
  const settings = settingsFrom(flags, info.login, relay.url.origin);
  const configuration = await discoverIssuer(settings, { signal }, deps);
  const first = await signIn(flags, configuration, settings, { deps, signal, screen });
  const record = await completeSignIn(relay.url.origin, settings, first, configuration, { signal }, deps);
  const kept = await openTokenCache(deps).put(loginKey(relay.url.origin), { signal }, record);
  await saveSettings(foldersOf(deps), {
    relay: relay.url.origin,
    ...(relay.caFile === undefined ? {} : { caFile: relay.caFile }),
  });
  screen.line(`Logged in at ${relay.url.origin} as ${record.name}.`);
  screen.line(`Kept in ${describeKept(kept)}.`);
  screen.line("Next: cluster-connect clusters");
}

async function signIn(
  flags: LoginFlags,
  configuration: Awaited<ReturnType<typeof discoverIssuer>>,
  settings: LoginSettings,
  context: { readonly deps: CliDeps; readonly signal: AbortSignal; readonly screen: Screen },
): Promise<TokenEndpointResponse> {
  const { deps, signal, screen } = context;
  if (flags.deviceCode === true || mustUseDevice(flags, configuration, deps)) {
    return await signInByDevice(configuration, settings, { signal }, (code) => {
      screen.line(`To sign in, open ${code.url} on any device and enter the code ${code.code}`);
      if (code.completeUrl !== undefined) screen.line(`or open ${code.completeUrl}`);
      screen.waiting(`waiting for you to sign in (${Math.round(code.expiresInSeconds / 60)} minutes)`);
    });
  }
  return await signInByBrowser(configuration, settings, { signal }, async (url) => {
    const opened = flags.browser !== false && (await deps.openBrowser(url));
    screen.line(opened ? "Sign in in the browser that opened. If it did not, open:" : "To sign in, open:");
    screen.line(`  ${url}`);
    screen.waiting("waiting for the browser");
  });
}

/** On a machine without a browser the redirect to this machine would lead nowhere. */
function mustUseDevice(
  flags: LoginFlags,
  configuration: Awaited<ReturnType<typeof discoverIssuer>>,
  deps: CliDeps,
): boolean {
  const offered = configuration.serverMetadata().device_authorization_endpoint !== undefined;
  return flags.browser !== false && offered && !hasBrowser(deps.platform, deps.env);
}

/** The relay's settings with the flags over them. */
function settingsFrom(flags: LoginFlags, fromRelay: LoginSettings | null, relay: string): LoginSettings {
  const issuer = flags.issuer ?? fromRelay?.issuer;
  const clientId = flags.clientId ?? fromRelay?.clientId;
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
  return {
    issuer,
    clientId,
    scopes: flags.scope ?? fromRelay?.scopes ?? SCOPES,
    audiences: { relay: relayAudience, cluster: clusterAudience },
    resourceParameter: flags.resourceParameter ?? fromRelay?.resourceParameter ?? "resource",
  };
}
