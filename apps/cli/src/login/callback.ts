import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { onAbort } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import { issuerText } from "./issuer-error.ts";

/** A listener on this machine that waits for the browser to come back from the issuer. */
export interface LoopbackCallback {
  /** Where the issuer sends the browser. */
  readonly redirectUri: string;
  /** The address the browser came back to, with the answer in its query. */
  readonly answered: Promise<URL>;
  /** Shows the browser how it went, then closes. */
  finish(error: ConnectError | undefined): Promise<void>;
}

const PATH = "/callback";
/** A browser has as long to take the last page. */
const PAGE_MS = 5_000;

/**
 * Listens for one answer, by RFC 8252: on 127.0.0.1 only, on any free port, and only for this sign-in's `state`.
 *
 * @param host in the redirect address; some issuers know `localhost` only.
 */
export async function listenForCallback(
  state: string,
  options: {
    readonly signal: AbortSignal;
    readonly host: "127.0.0.1" | "localhost";
    readonly onRefusal?: (text: string) => void;
  },
): Promise<LoopbackCallback> {
  const answered = Promise.withResolvers<URL>();
  answered.promise.catch(() => {});
  let browser: ServerResponse | undefined;
  const server = createServer((request, response) => {
    const url = URL.parse(request.url ?? "", redirectUri());
    const refusal = browser === undefined ? refusalWithoutState(request, url) : undefined;
    if (refusal !== undefined) {
      // It may be of another tab or attempt: it is shown, and the right answer may still come.
      showPage(
        response,
        400,
        "Signing in failed",
        `The issuer says: ${escapeHtml(refusal)}. The terminal goes on waiting.`,
      );
      options.onRefusal?.(refusal);
      return;
    }
    if (!isAnswer(request, url, state) || browser !== undefined) {
      showPage(response, 404, "Not found", "There is nothing here.");
      return;
    }
    browser = response;
    answered.resolve(url);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening", { signal: options.signal });
  // Where a browser takes `localhost` for ::1, it must find the same port there.
  const second = options.host === "localhost" ? listenAlso(server, callbackPort(server)) : undefined;
  const redirectUri = (): string => `http://${options.host}:${callbackPort(server)}${PATH}`;
  const closeAll = (): void => {
    for (const one of [server, second]) {
      one?.close();
      one?.closeAllConnections();
    }
  };
  const leave = onAbort(options.signal, () => {
    answered.reject(options.signal.reason);
    closeAll();
  });
  return {
    redirectUri: redirectUri(),
    answered: answered.promise,
    async finish(error) {
      leave();
      if (browser !== undefined) {
        if (error === undefined)
          showPage(browser, 200, "You are signed in", "Close this page and go back to the terminal.");
        else showPage(browser, 400, "Signing in failed", "The terminal says why. Close this page.");
        if (!isGone(browser)) await once(browser, "close", { signal: AbortSignal.timeout(PAGE_MS) }).catch(() => {});
      }
      closeAll();
    },
  };
}

/** A browser that closed its tab says so only once, and one whose answer waits behind another is told nothing of it. */
function isGone(browser: ServerResponse): boolean {
  return browser.closed || browser.req.socket.destroyed;
}

/** The same answers on IPv6's loopback; where there is none, or the port is taken there, the other one has to do. */
function listenAlso(server: Server, port: number): Server {
  const also = createServer((request, response) => void server.emit("request", request, response));
  also.on("error", () => {});
  also.listen(port, "::1");
  return also;
}

/** Some issuers leave `state` out of an answer that refuses, against RFC 6749 section 4.1.2.1. */
function refusalWithoutState(request: IncomingMessage, url: URL | null): string | undefined {
  if (request.method !== "GET" || url === null || url.pathname !== PATH || url.searchParams.has("state"))
    return undefined;
  const error = url.searchParams.get("error");
  if (error === null || error === "") return undefined;
  const description = url.searchParams.get("error_description") ?? "";
  return issuerText(description === "" ? error : `${error}: ${description}`);
}

function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

function isAnswer(request: IncomingMessage, url: URL | null, state: string): url is URL {
  return request.method === "GET" && url !== null && url.pathname === PATH && url.searchParams.get("state") === state;
}

function showPage(response: ServerResponse, status: number, title: string, text: string): void {
  response.writeHead(status, {
    "content-type": "text/html; charset=utf-8",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
    "referrer-policy": "no-referrer",
    connection: "close",
  });
  response.end(`<!doctype html><html lang="en"><title>${title}</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:32em;margin:20vh auto;padding:0 1em}</style>
<h1>${title}</h1><p>${text}</p></html>
`);
}

function callbackPort(server: Server): number {
  const address = server.address();
  if (typeof address === "object" && address !== null) return address.port;
  throw new ConnectError("CC_LOGIN_FAILED", "No free port on this machine for the browser to come back to");
}
