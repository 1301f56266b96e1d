import { get as httpGet, type IncomingMessage } from "node:http";
import { get as httpsGet } from "node:https";
import { ConnectError } from "@cluster-connect/protocol";
import { MAX_DOCUMENT_CHARACTERS } from "./limits.ts";

export interface DocumentOptions {
  readonly signal: AbortSignal;
  /** PEM certificates to trust instead of the system's. */
  readonly certificateAuthority?: string;
  /** Allows `http:` to 127.0.0.0/8, ::1 and localhost. */
  readonly allowInsecureLoopback?: boolean;
}

/** Fetches one small text document. */
export type FetchDocument = (url: URL, options: DocumentOptions) => Promise<string>;

/**
 * A GET on node:https: no redirects, no proxy, no cookies, a size limit, and a CA of one's own (which the global fetch
 * cannot take).
 *
 * @throws ConnectError `CC_ISSUER_UNREACHABLE` on a transport error, any status but 200 or a document over the limit.
 */
export const fetchDocument: FetchDocument = async (url, options) => {
  assertFetchable(url, options.allowInsecureLoopback ?? false);
  const response = await request(url, options);
  if (response.statusCode !== 200) {
    response.destroy();
    throw unreachable(url, `answered with status ${response.statusCode ?? 0}`);
  }
  return readText(url, response);
};

/** Whether a URL may be fetched at all: https, or http to this machine where that is allowed. */
export function isFetchable(url: URL, allowInsecureLoopback: boolean): boolean {
  return url.protocol === "https:" || (allowInsecureLoopback && url.protocol === "http:" && isLoopback(url.hostname));
}

function assertFetchable(url: URL, allowInsecureLoopback: boolean): void {
  if (!isFetchable(url, allowInsecureLoopback)) throw unreachable(url, "is not an https address");
}

function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127(\.\d{1,3}){3}$/.test(hostname);
}

function request(url: URL, options: DocumentOptions): Promise<IncomingMessage> {
  const { signal, certificateAuthority } = options;
  const headers = { accept: "application/json", "user-agent": "cluster-connect" };
  // Without a CA of its own the request takes Node's default, which also knows NODE_EXTRA_CA_CERTS.
  const trust = certificateAuthority === undefined ? {} : { ca: certificateAuthority };
  return new Promise((resolve, reject) => {
    const fail = (cause: Error) => reject(unreachable(url, describe(cause, signal), cause));
    const sent =
      url.protocol === "https:"
        ? httpsGet(url, { headers, signal, agent: false, ...trust }, resolve)
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

function describe(cause: Error, signal: AbortSignal): string {
  if (signal.aborted) return "did not answer in time";
  const code = "code" in cause && typeof cause.code === "string" ? cause.code : cause.message;
  return `could not be reached (${code})`;
}

function unreachable(url: URL, what: string, cause?: unknown): ConnectError {
  return new ConnectError("CC_ISSUER_UNREACHABLE", `${url.origin}${url.pathname} ${what}`, { cause });
}
