import { type HeaderLine, type HeaderLines, headerValues, toHeaderLines } from "@cluster-connect/auth";
import { ConnectError } from "@cluster-connect/protocol";
import { HTTP2_VERSION, type RequestHead } from "../admission/rules.ts";
import { HTTP2_HEAD_BYTES } from "../limits/limits.ts";

/** Bytes that each line counts beside its name and value. @see RFC 9113, section 6.5.2 */
const LINE_BYTES = 32;

/** A head over HTTP/2 as the parser gave it. */
export interface Http2Head {
  /** Names and values in turn, pseudo-headers among them. */
  readonly raw: readonly string[];
  /** Whether a body comes behind it. */
  readonly hasBody: boolean;
  /** Whether no line was left out. */
  readonly whole: boolean;
}

/**
 * A head over HTTP/2 as HTTP/1.1 would have it, so that one set of rules reads both.
 *
 * It is never refused here: a refusal is written down with its method and target.
 */
export function http1HeadOf({ raw, hasBody }: Http2Head): RequestHead {
  const lines = toHeaderLines(raw);
  const pseudo = (name: string): string | undefined => headerValues(lines, name)[0];
  const authority = pseudo(":authority");
  const own = lines.filter(([name]) => !name.startsWith(":"));
  const host: HeaderLines = authority === undefined || authority === "" ? [] : [["Host", authority]];
  const others = authority === undefined ? own : own.filter(([name]) => name !== "host");
  const unknownLength = hasBody && headerValues(own, "content-length").length === 0;
  const framing: HeaderLines = unknownLength ? [["Transfer-Encoding", "chunked"]] : [];
  return {
    method: pseudo(":method") ?? "",
    target: pseudo(":path") ?? "",
    httpVersion: HTTP2_VERSION,
    lines: [...host, ...withOneCookie(others), ...framing],
  };
}

/**
 * Refuses a head whose lines two servers could read in two ways, as far as only HTTP/2 has them.
 *
 * @throws ConnectError `CC_REQUEST_REFUSED` naming the rule; never a header's value.
 */
export function checkHttp2Head({ raw, whole }: Http2Head): void {
  const lines = toHeaderLines(raw);
  if (!whole) throw refusedHead("a header line is not well-formed");
  if (listSize(lines) > HTTP2_HEAD_BYTES) throw refusedHead(`its head has more than ${HTTP2_HEAD_BYTES} bytes`);
  const [authority] = headerValues(lines, ":authority");
  const hosts = headerValues(lines, "host");
  if (authority !== undefined && hosts.some((host) => host !== authority)) {
    throw refusedHead("Host is not what :authority says");
  }
  const [scheme] = headerValues(lines, ":scheme");
  if (scheme !== "https") throw refusedHead(":scheme is not https");
}

/** The size of a head as HTTP/2 counts it; a client that has not taken note of our limit yet may exceed it. */
function listSize(lines: HeaderLines): number {
  return lines.reduce((sum, [name, value]) => sum + name.length + value.length + LINE_BYTES, 0);
}

/** HTTP/2 lets a client cut a cookie's pairs apart, which only HTTP/2 puts together again. */
function withOneCookie(lines: HeaderLines): HeaderLines {
  const cookies = headerValues(lines, "cookie");
  if (cookies.length < 2) return lines;
  const others = lines.filter(([name]) => name !== "cookie");
  const cookie: HeaderLine = ["Cookie", cookies.join("; ")];
  return [...others, cookie];
}

function refusedHead(reason: string): ConnectError {
  return new ConnectError("CC_REQUEST_REFUSED", `The request is refused: ${reason}`);
}
