import type { Environment } from "../deps.ts";
import { isLoopback } from "./address.ts";

const NAMES = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"];

/**
 * A `fetch` that goes by the proxies of the environment, by the same dial as channels do. Addresses on this machine
 * need none. With a proxy, redirects are not followed.
 *
 * @returns one that rejects with `CC_CONFIG_INVALID` naming the variable, rather than goes past a proxy whose setting
 *   cannot be read. It rejects with `CC_RELAY_UNREACHABLE` naming a proxy that refuses.
 */
export function proxyFetch(direct: typeof fetch, env: Environment): typeof fetch {
  if (![...NAMES, ...NAMES.map((name) => name.toLowerCase())].some((name) => (env[name] ?? "") !== "")) return direct;
  return async (input, init) => {
    const url = new URL(input instanceof Request ? input.url : input);
    if (isLoopback(url)) return await direct(input, init);
    // Loaded only here: most commands have no proxy.
    const [{ proxyFor }, { fetchThroughProxy }] = await Promise.all([
      import("@cluster-connect/framing/ws"),
      import("./proxied-request.ts"),
    ]);
    const proxy = proxyFor(url, env);
    return proxy === undefined ? await direct(input, init) : await fetchThroughProxy(proxy, input, init);
  };
}
