import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { ConnectError } from "@cluster-connect/protocol";

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

/**
 * Listens for one answer, by RFC 8252: on 127.0.0.1 only, on any free port, and only for this sign-in's `state`.
 *
 * @param host in the redirect address; some issuers know `localhost` only.
 */
export async function listenForCallback(
  state: string,
  options: { readonly signal: AbortSignal; readonly host: "127.0.0.1" | "localhost" },
): Promise<LoopbackCallback> {
  const answered = Promise.withResolvers<URL>();
  answered.promise.catch(() => {});
  let browser: ServerResponse | undefined;
  const server = createServer((request, response) => {
    const url = URL.parse(request.url ?? "", redirectUri());
    if (!isAnswer(request, url, state) || browser !== undefined) {
      show(response, 404, "Not found", "There is nothing here.");
      return;
    }
    browser = response;
    answered.resolve(url);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening", { signal: options.signal });
  const redirectUri = (): string => `http://${options.host}:${portOf(server)}${PATH}`;
  const onAbort = (): void => {
    answered.reject(options.signal.reason);
    server.close();
    server.closeAllConnections();
  };
  options.signal.addEventListener("abort", onAbort, { once: true });
  return {
    redirectUri: redirectUri(),
    answered: answered.promise,
    async finish(error) {
      options.signal.removeEventListener("abort", onAbort);
      if (browser !== undefined) {
        if (error === undefined)
          show(browser, 200, "You are signed in", "Close this page and go back to the terminal.");
        else show(browser, 400, "Signing in failed", "The terminal says why. Close this page.");
        await once(browser, "close").catch(() => {});
      }
      server.close();
      server.closeAllConnections();
    },
  };
}

function isAnswer(request: IncomingMessage, url: URL | null, state: string): url is URL {
  return request.method === "GET" && url !== null && url.pathname === PATH && url.searchParams.get("state") === state;
}

function show(response: ServerResponse, status: number, title: string, text: string): void {
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

function portOf(server: Server): number {
  const address = server.address();
  if (typeof address === "object" && address !== null) return address.port;
  throw new ConnectError("CC_LOGIN_FAILED", "No free port on this machine for the browser to come back to");
}
