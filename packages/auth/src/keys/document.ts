import { get as httpGet, type IncomingMessage } from "node:http";
import { Agent, get as httpsGet } from "node:https";
import { isLoopbackHost, systemCode } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import { MAX_DOCUMENT_CHARACTERS } from "../limits.ts";

export interface DocumentOptions {
  readonly signal: AbortSignal;
  /** PEM certificates to trust instead of the system's. */
  readonly certificateAuthority?: string;
  /** Allows `http:` to 127.0.0.0/8, ::1 and localhost. */
  readonly allowInsecureLoopback?: boolean;
}

/** Fetches one small text document. */
export type FetchDocument = (url: URL, options: DocumentOptions) => Promise<string>;

/** How documents are fetched. */
export interface FetchDocumentDeps {
  /** The HTTP proxy on the way to an address; undefined for none. This machine itself is never asked by a proxy. */
  readonly proxyFor?: (url: URL) => URL | undefined;
}

/**
 * A GET on node:https: no redirects, no cookies, a size limit, and a CA of one's own (which the global fetch cannot
 * take).
 *
 * @returns throws ConnectError `CC_ISSUER_UNREACHABLE` on a transport error, any status but 200 or a document over the
 *   limit.
 */
export function createFetchDocument(deps: FetchDocumentDeps): FetchDocument {
  return async (url, options) => {
    assertFetchable(url, options.allowInsecureLoopback ?? false);
    const proxy = isLoopbackHost(url.hostname) ? undefined : deps.proxyFor?.(url);
    const response = await request(url, proxy, options);
    if (response.statusCode !== 200) {
      response.destroy();
      throw unreachable(url, `answered with status ${response.statusCode ?? 0}`);
    }
    return readText(url, response);
  };
}

/** Fetches documents without a proxy. */
export const fetchDocument: FetchDocument = createFetchDocument({});

/** Whether a URL may be fetched at all: https, or http to this machine where that is allowed. */
export function isFetchable(url: URL, allowInsecureLoopback: boolean): boolean {
  return (
    url.protocol === "https:" || (allowInsecureLoopback && url.protocol === "http:" && isLoopbackHost(url.hostname))
  );
}

function assertFetchable(url: URL, allowInsecureLoopback: boolean): void {
  if (!isFetchable(url, allowInsecureLoopback)) throw unreachable(url, "is not an https address");
}

function request(url: URL, proxy: URL | undefined, options: DocumentOptions): Promise<IncomingMessage> {
  const { signal, certificateAuthority } = options;
  const headers = { accept: "application/json", "user-agent": "cluster-connect" };
  // Without a CA of its own the request takes Node's default, which also knows NODE_EXTRA_CA_CERTS.
  const trust = certificateAuthority === undefined ? {} : { ca: certificateAuthority };
  return new Promise((resolve, reject) => {
    const fail = (cause: Error) => reject(unreachable(url, describe(cause, proxy, signal), cause));
    const sent =
      url.protocol === "https:"
        ? httpsGet(url, { headers, signal, agent: agentFor(proxy), ...trust }, resolve)
        : httpGet(url, { headers, signal, agent: false }, resolve);
    sent.on("error", fail);
  });
}

async function readText(url: URL, response: IncomingMessage): Promise<string> {
  const parts: string[] = [];
  let length = 0;
  response.setEncoding("utf8");
  try {
    for await (const part of response) {
      const text = String(part);
      length += text.length;
      if (length > MAX_DOCUMENT_CHARACTERS) break;
      parts.push(text);
    }
  } catch (cause) {
    throw unreachable(url, "broke off its answer", cause);
  }
  if (length > MAX_DOCUMENT_CHARACTERS)
    throw unreachable(url, `answered with more than ${MAX_DOCUMENT_CHARACTERS} characters`);
  return parts.join("");
}

/** Node's own way through a proxy; each document has its connection for itself. */
function agentFor(proxy: URL | undefined): Agent | false {
  return proxy === undefined ? false : new Agent({ proxyEnv: { HTTPS_PROXY: proxy.href } });
}

function describe(cause: Error, proxy: URL | undefined, signal: AbortSignal): string {
  const way = proxy === undefined ? "" : ` through the proxy ${proxy.host}`;
  if (signal.aborted) return `did not answer in time${way}`;
  return `could not be reached${way} (${systemCode(cause) || cause.message})`;
}

function unreachable(url: URL, what: string, cause?: unknown): ConnectError {
  return new ConnectError("CC_ISSUER_UNREACHABLE", `${url.origin}${url.pathname} ${what}`, { cause });
}
