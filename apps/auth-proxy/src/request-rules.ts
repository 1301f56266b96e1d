import { type HeaderLines, headerTokens, headerValues } from "@cluster-connect/auth";
import { ConnectError } from "@cluster-connect/protocol";
import { MAX_HEADER_LINES, MAX_TARGET_BYTES } from "./limits.ts";

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
// What the apiserver's router could read in another way than our log: blanks, controls and a fragment.
const TARGET = /^\/(?!\/)[\x21\x22\x24-\x7e]*$/;

/**
 * Refuses what two servers could read in two ways. Nothing is repaired.
 *
 * @returns how the body is framed.
 * @throws ConnectError `CC_REQUEST_REFUSED` naming the rule; never a header's value.
 */
export function checkRequest(head: RequestHead): Framing {
  const { method, target, httpVersion, lines } = head;
  if (httpVersion !== "1.1") throw refused("only HTTP/1.1 is spoken here");
  if (!METHODS.has(method)) throw refused("the method is not one of Kubernetes'");
  if (target.length > MAX_TARGET_BYTES) throw refused(`the request target has more than ${MAX_TARGET_BYTES} bytes`);
  if (!TARGET.test(target)) throw refused("the request target does not begin with exactly one slash, or has a #");
  if (lines.length > MAX_HEADER_LINES) throw refused(`there are more than ${MAX_HEADER_LINES} header lines`);
  for (const name of SINGLE) {
    if (headerValues(lines, name).length > 1) throw refused(`the header ${name} is there more than once`);
  }
  if (headerValues(lines, "host").length === 0) throw refused("there is no Host header");
  return framingOf(lines);
}

/**
 * What an upgrade asks for.
 *
 * @returns the protocol as the client wrote it.
 * @throws ConnectError `CC_REQUEST_REFUSED` for anything but WebSocket and SPDY/3.1, and for one with a body.
 */
export function checkUpgrade(head: RequestHead, framing: Framing): string {
  const [protocol = ""] = headerValues(head.lines, "upgrade");
  if (!UPGRADES.has(protocol.toLowerCase())) throw refused("only upgrades to websocket and SPDY/3.1 are passed on");
  if (framing.kind === "chunked" || (framing.kind === "length" && framing.bytes > 0)) {
    throw refused("an upgrade has no body");
  }
  if (protocol.toLowerCase() === "websocket" && head.method !== "GET") throw refused("a WebSocket begins with GET");
  if (!headerTokens(head.lines, "connection").includes("upgrade")) {
    throw refused("the upgrade is not named in Connection");
  }
  return protocol;
}

function framingOf(lines: HeaderLines): Framing {
  const [length] = headerValues(lines, "content-length");
  const [encoding] = headerValues(lines, "transfer-encoding");
  if (encoding !== undefined) {
    if (length !== undefined) throw refused("there are both Content-Length and Transfer-Encoding");
    if (encoding.toLowerCase() !== "chunked") throw refused("Transfer-Encoding is not exactly chunked");
    return { kind: "chunked" };
  }
  if (length === undefined) return { kind: "none" };
  if (!/^[0-9]{1,15}$/.test(length)) throw refused("Content-Length is not a number");
  return { kind: "length", bytes: Number(length) };
}

function refused(reason: string): ConnectError {
  return new ConnectError("CC_REQUEST_REFUSED", `The request is refused: ${reason}`);
}
