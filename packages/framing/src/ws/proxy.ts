import { request as requestPlain } from "node:http";
import { request as requestTls } from "node:https";
import type { Socket } from "node:net";
import { ConnectError } from "@cluster-connect/protocol";
import { dialError } from "./dial-error.ts";

/** Environment variables as they are; both spellings are in use. */
export type ProxyEnvironment = Readonly<Record<string, string | undefined>>;

/**
 * The proxy for an address by HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY.
 *
 * @throws ConnectError `CC_CONFIG_INVALID` when the variable is no http or https URL; the message does not show it.
 */
export function proxyFor(url: URL, env: ProxyEnvironment): URL | undefined {
  const secure = url.protocol === "https:" || url.protocol === "wss:";
  const own = secure ? "HTTPS_PROXY" : "HTTP_PROXY";
  const name = settingOf(env, own) === undefined ? "ALL_PROXY" : own;
  const value = settingOf(env, name);
  if (value === undefined || isExempt(url, settingOf(env, "NO_PROXY") ?? "")) return undefined;
  const proxy = URL.parse(value.includes("://") ? value : `http://${value}`);
  if (proxy === null || (proxy.protocol !== "http:" && proxy.protocol !== "https:")) {
    throw new ConnectError("CC_CONFIG_INVALID", `${name} is not the URL of an HTTP proxy`, {
      hint: "Give it as http://proxy.example.com:3128, or unset it.",
    });
  }
  return proxy;
}

/**
 * A socket to a host through a proxy that knows CONNECT.
 *
 * @throws ConnectError `CC_RELAY_UNREACHABLE` naming the proxy when it cannot be reached or refuses.
 */
export function connectThroughProxy(
  proxy: URL,
  target: { readonly host: string; readonly port: number },
  options: { readonly signal: AbortSignal },
): Promise<Socket> {
  const authority = `${target.host}:${target.port}`;
  const user = decodeURIComponent(proxy.username);
  const login = Buffer.from(`${user}:${decodeURIComponent(proxy.password)}`).toString("base64");
  const headers = { host: authority, ...(user === "" ? {} : { "proxy-authorization": `Basic ${login}` }) };
  const start = proxy.protocol === "https:" ? requestTls : requestPlain;
  return new Promise((resolve, reject) => {
    const request = start({
      host: proxy.hostname.replace(/^\[(.*)\]$/, "$1"),
      port: proxy.port === "" ? undefined : Number(proxy.port),
      method: "CONNECT",
      path: authority,
      headers,
      agent: false,
      signal: options.signal,
    });
    request.once("connect", (response, socket) => {
      if (response.statusCode === 200) {
        resolve(socket);
        return;
      }
      socket.destroy();
      const why = `The proxy ${proxy.host} answered ${response.statusCode ?? 0} to CONNECT ${authority}`;
      reject(new ConnectError("CC_RELAY_UNREACHABLE", why));
    });
    request.on("error", (error) => {
      reject(options.signal.aborted ? options.signal.reason : dialError(`The proxy ${proxy.host}`, error));
    });
    request.end();
  });
}

function settingOf(env: ProxyEnvironment, name: string): string | undefined {
  const value = env[name] ?? env[name.toLowerCase()];
  return value === "" ? undefined : value;
}

/** NO_PROXY: names, with everything below them, perhaps with a port; `*` for all. */
function isExempt(url: URL, list: string): boolean {
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1").toLowerCase();
  const port = portOf(url);
  return list.split(/[\s,]+/).some((entry) => {
    if (entry === "*") return true;
    const [, rawName = "", rawPort] = /^(.*?)(?::(\d+))?$/.exec(entry.toLowerCase()) ?? [];
    const name = rawName.replace(/^\*?\./, "");
    if (name === "" || (rawPort !== undefined && Number(rawPort) !== port)) return false;
    return host === name || host.endsWith(`.${name}`);
  });
}

/** The port of an address, also where it is the scheme's own. */
export function portOf(url: URL): number {
  if (url.port !== "") return Number(url.port);
  return url.protocol === "https:" || url.protocol === "wss:" ? 443 : 80;
}
