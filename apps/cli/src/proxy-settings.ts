import type { Environment } from "./deps.ts";
import { isLoopback } from "./relay-address.ts";

const NAMES = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"] as const;

/** What Node's own `fetch` is told about proxies. */
export type FetchProxies = Readonly<Record<"HTTP_PROXY" | "HTTPS_PROXY" | "NO_PROXY", string | undefined>>;

/**
 * The proxies of the environment in the one form that Node takes: with a scheme, and none that is no address. What is
 * on this machine needs none.
 *
 * @returns undefined when the environment names no proxy, or exempts everything.
 */
export function fetchProxies(env: Environment): FetchProxies | undefined {
  if (NAMES.every((name) => settingOf(env, name) === undefined)) return undefined;
  const given = settingOf(env, "NO_PROXY") ?? "";
  // Node takes the star only where it stands alone.
  if (given.split(/[\s,]+/).includes("*")) return undefined;
  const exempt = ["localhost", "127.0.0.1", "[::1]", given];
  const otherwise = settingOf(env, "ALL_PROXY");
  return {
    HTTP_PROXY: addressOf(settingOf(env, "HTTP_PROXY") ?? otherwise),
    HTTPS_PROXY: addressOf(settingOf(env, "HTTPS_PROXY") ?? otherwise),
    NO_PROXY: exempt.filter((entry) => entry !== "").join(","),
  };
}

/**
 * A `fetch` that goes nowhere while the setting of the proxy it would need is wrong, rather than past the proxy.
 *
 * @returns one that rejects with `CC_CONFIG_INVALID`, naming the variable.
 */
export function withProxySettings(ask: typeof fetch, env: Environment): typeof fetch {
  return async (input, init) => {
    const url = new URL(input instanceof Request ? input.url : input);
    if (!isLoopback(url)) {
      const { proxyFor } = await import("@cluster-connect/framing/ws");
      proxyFor(url, env);
    }
    return await ask(input, init);
  };
}

function settingOf(env: Environment, name: string): string | undefined {
  const value = env[name] ?? env[name.toLowerCase()];
  return value === "" ? undefined : value;
}

/** Many programs take `proxy.example.com:3128` too. */
function addressOf(setting: string | undefined): string | undefined {
  if (setting === undefined) return undefined;
  const text = setting.includes("://") ? setting : `http://${setting}`;
  return /^https?:$/.test(URL.parse(text)?.protocol ?? "") ? text : undefined;
}
