import { type IncomingMessage, request as requestPlain } from "node:http";
import { request as requestTls } from "node:https";
import type { Socket } from "node:net";
import { bareHost } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import { dialError } from "./dial-error.ts";
import { isExempt } from "./no-proxy.ts";

/** Environment variables as they are; both spellings are in use. */
export type ProxyEnvironment = Readonly<Record<string, string | undefined>>;

/**
 * The proxy for an address by HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY. A variable that is set to nothing is not
 * set; the other spelling counts then.
 *
 * @throws ConnectError `CC_CONFIG_INVALID` when the variable is no http or https URL; the message does not show it.
 */
export function proxyFor(url: URL, env: ProxyEnvironment): URL | undefined {
  const secure = url.protocol === "https:" || url.protocol === "wss:";
  const own = secure ? "HTTPS_PROXY" : "HTTP_PROXY";
  const name = settingOf(env, own) === undefined ? "ALL_PROXY" : own;
  const value = settingOf(env, name);
  if (value === undefined || isExempt(url.hostname, portOf(url), settingOf(env, "NO_PROXY") ?? "")) return undefined;
  const proxy = URL.parse(value.includes("://") ? value : `http://${value}`);
  if (proxy === null || (proxy.protocol !== "http:" && proxy.protocol !== "https:")) {
    throw new ConnectError("CC_CONFIG_INVALID", `${name} is not the URL of an HTTP proxy`, {
      hint: "Give it as http://proxy.example.com:3128, or unset it.",
    });
  }
  return proxy;
}

/**
 * A socket to a host through a proxy that knows CONNECT: one question, and no second one after any answer.
 *
 * @param options `tell` hears of the socket to the proxy as soon as it is there.
 * @throws ConnectError `CC_RELAY_UNREACHABLE` naming the proxy and its answer when it cannot be reached or refuses.
 */
export function connectThroughProxy(
  proxy: URL,
  target: { readonly host: string; readonly port: number },
  options: { readonly signal: AbortSignal; readonly tell?: (socket: Socket) => void },
): Promise<Socket> {
  const authority = `${target.host.includes(":") ? `[${target.host}]` : target.host}:${target.port}`;
  const start = proxy.protocol === "https:" ? requestTls : requestPlain;
  return new Promise((resolve, reject) => {
    const request = start({
      host: bareHost(proxy.hostname),
      port: proxy.port === "" ? undefined : Number(proxy.port),
      method: "CONNECT",
      path: authority,
      headers: { host: authority, ...proxyAuthorization(proxy) },
      agent: false,
      signal: options.signal,
    });
    if (options.tell !== undefined) request.once("socket", options.tell);
    request.once("connect", (response, socket, head) => {
      const status = response.statusCode ?? 0;
      if (status < 200 || status > 299) {
        socket.destroy();
        reject(refusedByProxy(proxy, authority, response));
        return;
      }
      // The far end's bytes behind the proxy's answer belong to the far end.
      if (head.length > 0) socket.unshift(head);
      resolve(socket);
    });
    request.on("error", (error) => {
      reject(options.signal.aborted ? options.signal.reason : dialError(`The proxy ${proxy.host}`, error));
    });
    request.end();
  });
}

/** The header with the user and password of a proxy's URL; none where it has neither. */
export function proxyAuthorization(proxy: URL): Readonly<Record<string, string>> {
  if (proxy.username === "" && proxy.password === "") return {};
  const login = `${decodePart(proxy.username)}:${decodePart(proxy.password)}`;
  return { "proxy-authorization": `Basic ${Buffer.from(login).toString("base64")}` };
}

/** The meaning of a proxy's refusal, and the setting it is about. */
export function refusedByProxy(
  proxy: URL,
  about: string,
  response: Pick<IncomingMessage, "statusCode" | "headers">,
): ConnectError {
  const status = response.statusCode ?? 0;
  const code = "CC_RELAY_UNREACHABLE";
  if (status === 407) {
    const schemes = schemesOf(response.headers["proxy-authenticate"]);
    const wants = schemes.length === 0 ? "a user and password" : `${schemes.join(" or ")} authentication`;
    const hasLogin = proxy.username !== "" || proxy.password !== "";
    const refused = hasLogin ? "; it did not take the user and password of its URL" : "";
    return new ConnectError(code, `The proxy ${proxy.host} wants ${wants} (407) for ${about}${refused}`, {
      hint: takesBasic(schemes)
        ? `Put them into the variable: HTTPS_PROXY=${proxy.protocol}//USER:PASSWORD@${proxy.host}`
        : "Run a local proxy that signs in there, such as Px or cntlm, and name it in HTTPS_PROXY.",
    });
  }
  if (status >= 300 && status < 400) {
    const place = URL.parse(response.headers.location ?? "")?.host;
    const where = place === undefined ? "" : ` to ${place}`;
    return new ConnectError(code, `The proxy ${proxy.host} answered ${status}${where} to CONNECT ${about}`, {
      hint: "It wants something in a browser first: sign in there, then repeat the command.",
    });
  }
  return new ConnectError(code, `The proxy ${proxy.host} answered ${status} to CONNECT ${about}`, {
    hint: `Have its administrator allow CONNECT to ${about}, or exempt the host with NO_PROXY.`,
  });
}

/** Names of the ways to authenticate; the rest of the header is the proxy's own text. */
function schemesOf(header: string | readonly string[] | undefined): readonly string[] {
  const text = typeof header === "string" ? header : (header ?? []).join(", ");
  const known = ["Basic", "Digest", "NTLM", "Negotiate", "Kerberos", "Bearer"];
  return known.filter((scheme) => new RegExp(String.raw`(^|,\s*)${scheme}(\s|,|$)`, "i").test(text));
}

function takesBasic(schemes: readonly string[]): boolean {
  return schemes.length === 0 || schemes.includes("Basic");
}

/** The text that a URL's user or password stands for; a `%` that encodes nothing is itself, as for curl. */
function decodePart(text: string): string {
  return text.replaceAll(/(?:%[0-9a-f]{2})+/gi, (encoded) => {
    try {
      return decodeURIComponent(encoded);
    } catch {
      return encoded;
    }
  });
}

function settingOf(env: ProxyEnvironment, name: string): string | undefined {
  return [env[name], env[name.toLowerCase()]].find((value) => value !== undefined && value.trim() !== "")?.trim();
}

/** The port of an address, also where it is the scheme's own. */
export function portOf(url: URL): number {
  if (url.port !== "") return Number(url.port);
  return url.protocol === "https:" || url.protocol === "wss:" ? 443 : 80;
}
