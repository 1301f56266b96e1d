import type { LoginSettings } from "@cluster-connect/api";
import { type ClusterId, parseClusterId, toConnectError } from "@cluster-connect/protocol";
import type { Configuration, TokenEndpointResponse } from "openid-client";
import type { CliDeps } from "../../deps.ts";
import { loadFleet } from "../../fleet/fleet.ts";
import { signInByBrowser } from "../../login/browser-sign-in.ts";
import { signInByDevice } from "../../login/device-sign-in.ts";
import { isEntraIssuer } from "../../login/entra-authority.ts";
import { findMachineLogin } from "../../login/entra-flags.ts";
import { loginSettings, type SettingsFlags } from "../../login/login-settings.ts";
import { discoverIssuer } from "../../login/oidc.ts";
import { hasBrowser } from "../../login/open-browser.ts";
import { completeSignIn } from "../../login/sign-in.ts";
import { fetchRelayInfo } from "../../relay/api.ts";
import { chooseRelay, type RelayFlags } from "../../relay/choice.ts";
import { describeSkew, isOff } from "../../relay/clock-skew.ts";
import { saveSettings } from "../../settings/config-file.ts";
import { foldersOf } from "../../settings/folders.ts";
import { openPinnedRelays, type PinnedRelays } from "../../settings/pinned-relays.ts";
import { confirmAt, isYes } from "../../terminal/confirm.ts";
import { createScreen, type Screen } from "../../terminal/screen.ts";
import { shellWord } from "../../terminal/shell-word.ts";
import { openTokenCache } from "../../tokens/choose-tokens.ts";
import { namedLogin } from "../../tokens/given/token-flags.ts";
import type { LoginRecord } from "../../tokens/login/login-record.ts";
import { describeKept } from "../../tokens/vault/kept-how.ts";
import { loginKey } from "../../tokens/vault/token-cache.ts";
import type { CommandContext } from "../context.ts";

export interface LoginFlags extends RelayFlags, SettingsFlags {
  readonly deviceCode?: boolean;
  /** The key that signs the authorities of the relay's clusters, or a file with it. */
  readonly fleetKey?: string;
  readonly fleetRevocations?: string;
  /** Clusters to sign in for, where each has an audience of its own. */
  readonly name?: readonly string[];
  /** The name of `az login` for it. */
  readonly useDeviceCode?: boolean;
  /** False: print the address and leave opening it to the person. */
  readonly browser?: boolean;
}

/** Signs the person in for a relay and its clusters, and remembers the relay. */
export async function login(flags: LoginFlags, { deps, signal }: CommandContext): Promise<void> {
  const screen = createScreen(deps, { quiet: false });
  const clusters = (flags.name ?? []).map(parseClusterId);
  // First, as its choice may be wrong: the person must not sign in for nothing.
  const cache = openTokenCache(deps);
  const relay = await chooseRelay(flags, deps);
  const info = await fetchRelayInfo(relay.url, { signal }, deps);
  const pins = openPinnedRelays(foldersOf(deps));
  const fleet = await loadFleet(relay.url, flags, { signal }, deps);
  const settingsFor = await askAboutRelay(relay.url, info.login, flags, pins, { deps, signal });
  const record = await signIn(flags, settingsFor, relay.url.origin, { deps, signal, screen, clusters });
  const { audiences, issuer } = record.settings;
  await pins.keep(
    {
      relay: relay.url.origin,
      relayAudience: audiences.relay,
      clusterAudience: audiences.cluster,
      issuer,
      ...(fleet === undefined ? {} : { fleetKey: fleet.key.text }),
    },
    { signal },
  );
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
  /** Named at the login. */
  readonly clusters: readonly ClusterId[];
}

interface DecidedLogin {
  /** Undefined for a person. */
  readonly machine: Awaited<ReturnType<typeof findMachineLogin>>;
  readonly settings: LoginSettings;
}

/** Decides what to sign in with; an audience that only the relay names is a question to the person. */
async function askAboutRelay(
  relay: URL,
  announced: LoginSettings | null,
  flags: LoginFlags,
  pins: PinnedRelays,
  { deps, signal }: Pick<CommandContext, "deps" | "signal">,
): Promise<DecidedLogin> {
  const machine = await findMachineLogin(flags, deps);
  const pinned = await pins.find(relay.origin);
  const sources = { relay, named: namedLogin(flags, deps), pinned, announced, machine, env: deps.env };
  try {
    return { machine, settings: loginSettings(flags, sources) };
  } catch (error) {
    const ask = confirmAt(deps);
    const audience = announced?.audiences.relay;
    const isFirst = pinned?.relayAudience === undefined && sources.named.relayAudience === undefined;
    if (toConnectError(error).code !== "CC_AUDIENCE_REFUSED" || !isFirst || machine !== undefined) throw error;
    if (ask === undefined || audience === undefined || audience === relay.origin) throw error;
    // Decided first: other faults are reported before a person is asked.
    const settings = loginSettings(flags, { ...sources, named: { ...sources.named, relayAudience: audience } });
    const answer = await ask(
      `${relay.host} asks for a token for ${shellWord(audience)}, which is not its own address.\n` +
        "Does its administrator say so too? Type yes to go on: ",
      { signal },
    );
    if (!isYes(answer)) throw error;
    return { machine, settings };
  }
}

/** Chooses between a machine's login, a person's at Entra by its library, and a person's at any issuer. */
async function signIn(
  flags: LoginFlags,
  { machine, settings }: DecidedLogin,
  relay: string,
  context: Context,
): Promise<LoginRecord> {
  const { deps, signal, clusters } = context;
  if (machine !== undefined) {
    const { signInMachine } = await import("../../login/entra.ts");
    return await signInMachine(relay, settings, machine, { signal, clusters }, deps);
  }
  // The library opens the browser itself and shows no address; without it, our own way works at Entra too.
  const byLibrary = (flags.entra === true || isEntraIssuer(settings.issuer)) && flags.browser !== false;
  if (byLibrary) return await signInPersonAtEntra(flags, settings, relay, context);
  const { configuration, skew } = await discoverIssuer(settings, { signal }, deps);
  if (isOff(skew)) context.screen.notice(`warning: ${describeSkew(skew)}: set it (NTP)`);
  const first = await signInAtIssuer(flags, configuration, settings, context);
  const started = { first, configuration, aheadMs: skew.aheadMs };
  return await completeSignIn(relay, settings, started, { signal, clusters }, deps);
}

async function signInPersonAtEntra(
  flags: LoginFlags,
  settings: LoginSettings,
  relay: string,
  { deps, signal, screen, clusters }: Context,
): Promise<LoginRecord> {
  const { signInPerson } = await import("../../login/entra.ts");
  if (asksForDevice(flags) || !hasBrowser(deps.platform, deps.env)) {
    const show = ({ url, code }: { readonly url: string; readonly code: string }): void => {
      screen.line(`To sign in, open ${url} on any device and enter the code ${code}`);
      screen.waiting("waiting for you to sign in");
    };
    return await signInPerson(relay, settings, { kind: "deviceCode", show }, { signal, clusters }, deps);
  }
  screen.line("Sign in in the browser that opens. If none does, run it again with --device-code.");
  screen.waiting("waiting for the browser");
  return await signInPerson(relay, settings, { kind: "browser" }, { signal, clusters }, deps);
}

const asksForDevice = (flags: LoginFlags): boolean => flags.deviceCode === true || flags.useDeviceCode === true;

async function signInAtIssuer(
  flags: LoginFlags,
  configuration: Configuration,
  settings: LoginSettings,
  context: Context,
): Promise<TokenEndpointResponse> {
  const { deps, signal, screen, clusters } = context;
  if (asksForDevice(flags) || mustUseDevice(flags, configuration, deps)) {
    return await signInByDevice(configuration, settings, { signal, clusters }, (code) => {
      screen.line(`To sign in, open ${code.url} on any device and enter the code ${code.code}`);
      if (code.completeUrl !== undefined) screen.line(`or open ${code.completeUrl}`);
      screen.waiting(`waiting for you to sign in (${Math.round(code.expiresInSeconds / 60)} minutes)`);
    });
  }
  const onRefusal = (text: string): void => {
    screen.notice(`${settings.issuer} says: ${text}; still waiting for the browser`);
  };
  return await signInByBrowser(configuration, settings, { signal, clusters, onRefusal }, async (url) => {
    const opened = flags.browser !== false && (await deps.openBrowser(url));
    screen.line(opened ? "Sign in in the browser that opened. If it did not, open:" : "To sign in, open:");
    screen.line(`  ${url}`);
    screen.waiting("waiting for the browser");
  });
}

/** On a machine without a browser the redirect to this machine would lead nowhere. */
function mustUseDevice(flags: LoginFlags, configuration: Configuration, deps: CliDeps): boolean {
  const offered = configuration.serverMetadata().device_authorization_endpoint !== undefined;
  return flags.browser !== false && offered && !hasBrowser(deps.platform, deps.env);
}
