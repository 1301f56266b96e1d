import type { TokenEndpointResponse } from "openid-client";
import type { CliDeps } from "../deps.ts";
import { signInByBrowser } from "../login/browser-sign-in.ts";
import { signInByDevice } from "../login/device-sign-in.ts";
import { isEntraIssuer } from "../login/entra-authority.ts";
import { findMachineLogin } from "../login/entra-flags.ts";
import { loginSettings, type SettingsFlags } from "../login/login-settings.ts";
import { discoverIssuer } from "../login/oidc.ts";
import { hasBrowser } from "../login/open-browser.ts";
import { completeSignIn } from "../login/sign-in.ts";
import { fetchRelayInfo, type LoginSettings } from "../relay-api.ts";
import { createScreen, type Screen } from "../screen.ts";
import { saveSettings } from "../settings/config-file.ts";
import { foldersOf } from "../settings/folders.ts";
import { chooseRelay, type RelayFlags } from "../settings/relay-choice.ts";
import { openTokenCache } from "../tokens/choose-tokens.ts";
import { describeKept } from "../tokens/kept-how.ts";
import type { LoginRecord } from "../tokens/login-record.ts";
import { loginKey } from "../tokens/token-cache.ts";
import type { CommandContext } from "./context.ts";

export interface LoginFlags extends RelayFlags, SettingsFlags {
  readonly deviceCode?: boolean;
  /** What `az login` calls it. */
  readonly useDeviceCode?: boolean;
  /** False: print the address and leave opening it to the person. */
  readonly browser?: boolean;
}

/** Signs the person in for a relay and its clusters, and remembers the relay. */
export async function login(flags: LoginFlags, { deps, signal }: CommandContext): Promise<void> {
  const screen = createScreen(deps, { quiet: false });
  // First, as its choice may be wrong: nobody signs in for nothing.
  const cache = openTokenCache(deps);
  const relay = await chooseRelay(flags, deps);
  const info = await fetchRelayInfo(relay.url, { signal }, deps);
  const record = await signIn(flags, info.login, relay.url.origin, { deps, signal, screen });
  const kept = await cache.put(loginKey(relay.url.origin), { signal }, record);
  await saveSettings(foldersOf(deps), {
    relay: relay.url.origin,
    ...(relay.caFile === undefined ? {} : { caFile: relay.caFile }),
  });
  screen.line(`Logged in at ${relay.url.origin} as ${record.name}.`);
  screen.line(`Kept in ${describeKept(kept)}.`);
  screen.line("Next: cluster-connect clusters");
}

interface Context {
  readonly deps: CliDeps;
  readonly signal: AbortSignal;
  readonly screen: Screen;
}

/** Chooses between a machine's login, a person's at Entra by its library, and a person's at any issuer. */
async function signIn(
  flags: LoginFlags,
  fromRelay: LoginSettings | null,
  relay: string,
  context: Context,
): Promise<LoginRecord> {
  const { deps, signal } = context;
  const machine = await findMachineLogin(flags, deps);
  const settings = loginSettings(flags, fromRelay, relay, { machine, env: deps.env });
  if (machine !== undefined) {
    const { signInMachine } = await import("../login/entra.ts");
    return await signInMachine(relay, settings, machine, { signal }, deps);
  }
  // The library opens the browser itself and shows no address; without it, our own way works at Entra too.
  const byLibrary = (flags.entra === true || isEntraIssuer(settings.issuer)) && flags.browser !== false;
  if (byLibrary) return await signInPersonAtEntra(flags, settings, relay, context);
  const configuration = await discoverIssuer(settings, { signal }, deps);
  const first = await signInAtIssuer(flags, configuration, settings, context);
  return await completeSignIn(relay, settings, first, configuration, { signal }, deps);
}

async function signInPersonAtEntra(
  flags: LoginFlags,
  settings: LoginSettings,
  relay: string,
  { deps, signal, screen }: Context,
): Promise<LoginRecord> {
  const { signInPerson } = await import("../login/entra.ts");
  if (asksForDevice(flags) || !hasBrowser(deps.platform, deps.env)) {
    const show = ({ url, code }: { readonly url: string; readonly code: string }): void => {
      screen.line(`To sign in, open ${url} on any device and enter the code ${code}`);
      screen.waiting("waiting for you to sign in");
    };
    return await signInPerson(relay, settings, { kind: "deviceCode", show }, { signal }, deps);
  }
  screen.line("Sign in in the browser that opens. If none does, run it again with --device-code.");
  screen.waiting("waiting for the browser");
  return await signInPerson(relay, settings, { kind: "browser" }, { signal }, deps);
}

const asksForDevice = (flags: LoginFlags): boolean => flags.deviceCode === true || flags.useDeviceCode === true;

async function signInAtIssuer(
  flags: LoginFlags,
  configuration: Awaited<ReturnType<typeof discoverIssuer>>,
  settings: LoginSettings,
  context: Context,
): Promise<TokenEndpointResponse> {
  const { deps, signal, screen } = context;
  if (asksForDevice(flags) || mustUseDevice(flags, configuration, deps)) {
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
