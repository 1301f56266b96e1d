import { type HeaderLines, headerTokens, headerValues } from "@cluster-connect/auth";
import { ConnectError } from "@cluster-connect/protocol";
import { MAX_HEADER_LINES } from "../limits/limits.ts";

/** The head of a request as the parser gave it. */
export interface RequestHead {
  readonly method: string;
  readonly target: string;
  readonly httpVersion: string;
  readonly lines: HeaderLines;
}

/** How a request's body is framed. */
export type Framing =
  | { readonly kind: "none" }
  | { readonly kind: "length"; readonly bytes: number }
  | { readonly kind: "chunked" };

/** No request line of HTTP/1.1 can say so: a connection is of HTTP/2 by its handshake alone. */
export const HTTP2_VERSION = "h2";
const VERSIONS: ReadonlySet<string> = new Set(["1.1", HTTP2_VERSION]);
const METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);
/** Headers that must not come twice: which of two a server believes is its own choice. */
const SINGLE: readonly string[] = [
  "host",
  "authorization",
  "content-length",
  "transfer-encoding",
  "content-type",
  "upgrade",
  "impersonate-user",
  "impersonate-uid",
  "sec-websocket-key",
  "sec-websocket-version",
  "expect",
];
const UPGRADES: ReadonlySet<string> = new Set(["websocket", "spdy/3.1"]);
// Excludes blanks, controls and a fragment: the apiserver's router could read them in another way than our log. Bytes above
// 0x7f are no part of any separator, and the apiserver reads them as if they were percent-encoded.
const TARGET = /^\/(?!\/)[\x21\x22\x24-\x7e\x80-\xff]*$/;

/**
 * Refuses a request that two servers could read in two ways. Nothing is repaired.
 *
 * @returns how the body is framed.
 * @throws ConnectError `CC_REQUEST_REFUSED` naming the rule; never a header's value.
 */
export function checkRequest(head: RequestHead): Framing {
  const { method, target, httpVersion, lines } = head;
  if (!VERSIONS.has(httpVersion)) throw refusedRequest("only HTTP/1.1 and HTTP/2 are spoken here");
  if (!METHODS.has(method)) throw refusedRequest("the method is not one of Kubernetes'");
  if (!TARGET.test(target))
    throw refusedRequest("the request target does not begin with exactly one slash, or has a #");
  if (lines.length > MAX_HEADER_LINES) throw refusedRequest(`there are more than ${MAX_HEADER_LINES} header lines`);
  for (const name of SINGLE) {
    if (headerValues(lines, name).length > 1) throw refusedRequest(`the header ${name} is there more than once`);
  }
  if (headerValues(lines, "host").length === 0) throw refusedRequest("there is no Host header");
  return framingOf(lines);
}

/**
 * Reads the protocol that an upgrade asks for.
 *
 * @returns the protocol as the client wrote it.
 * @throws ConnectError `CC_REQUEST_REFUSED` for anything but WebSocket and SPDY/3.1, and for one with a body.
 */
export function checkUpgrade(head: RequestHead, framing: Framing): string {
  const [protocol = ""] = headerValues(head.lines, "upgrade");
  if (!UPGRADES.has(protocol.toLowerCase()))
    throw refusedRequest("only upgrades to websocket and SPDY/3.1 are passed on");
  if (framing.kind === "chunked" || (framing.kind === "length" && framing.bytes > 0)) {
    throw refusedRequest("an upgrade has no body");
  }
  if (protocol.toLowerCase() === "websocket" && head.method !== "GET")
    throw refusedRequest("a WebSocket begins with GET");
  if (!headerTokens(head.lines, "connection").includes("upgrade")) {
    throw refusedRequest("the upgrade is not named in Connection");
  }
  return protocol;
}

function framingOf(lines: HeaderLines): Framing {
  const [length] = headerValues(lines, "content-length");
  const [encoding] = headerValues(lines, "transfer-encoding");
  if (encoding !== undefined) {
    if (length !== undefined) throw refusedRequest("there are both Content-Length and Transfer-Encoding");
    if (encoding.toLowerCase() !== "chunked") throw refusedRequest("Transfer-Encoding is not exactly chunked");
    return { kind: "chunked" };
  }
  if (length === undefined) return { kind: "none" };
  if (!/^[0-9]{1,15}$/.test(length)) throw refusedRequest("Content-Length is not a number");
  return { kind: "length", bytes: Number(length) };
}

function refusedRequest(reason: string): ConnectError {
  return new ConnectError("CC_REQUEST_REFUSED", `The request is refused: ${reason}`);
}
