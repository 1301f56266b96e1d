import { type HeaderLine, type HeaderLines, headerValues, parseBearer } from "@cluster-connect/auth";
import { ConnectError } from "@cluster-connect/protocol";

/** The item of `Sec-WebSocket-Protocol` that carries a token, where a browser can set no other header. */
const PROTOCOL_HEADER = "sec-websocket-protocol";
const BEARER_ITEM = "base64url.bearer.authorization.k8s.io.";

/**
 * The caller's token.
 *
 * @param options.webSocket Whether the request is an upgrade to WebSocket, where the subprotocol may carry the token.
 * @throws ConnectError `CC_TOKEN_MISSING` without one, `CC_TOKEN_INVALID` for a malformed one, `CC_REQUEST_REFUSED`
 *   for two.
 */
export function callersToken(lines: HeaderLines, options: { readonly webSocket: boolean }): string {
  const [header] = headerValues(lines, "authorization");
  const items = protocolItems(lines).filter(isBearerItem);
  if (!options.webSocket || items.length === 0) return parseBearer(header);
  if (header !== undefined || items.length > 1) {
    throw new ConnectError("CC_REQUEST_REFUSED", "The request is refused: it carries more than one token");
  }
  return decodeItem(items[0] ?? "");
}

/** Without the bearer items of `Sec-WebSocket-Protocol`, and without that header when nothing else is in it. */
export function withoutBearerProtocol(lines: HeaderLines): HeaderLines {
  return lines.flatMap(([name, value]): HeaderLine[] => {
    if (name.toLowerCase() !== PROTOCOL_HEADER || !splitItems(value).some(isBearerItem)) return [[name, value]];
    const kept = splitItems(value).filter((item) => !isBearerItem(item));
    return kept.length === 0 ? [] : [[name, kept.join(", ")]];
  });
}

function protocolItems(lines: HeaderLines): readonly string[] {
  return headerValues(lines, PROTOCOL_HEADER).flatMap(splitItems);
}

function splitItems(value: string): readonly string[] {
  return value.split(",").map((item) => item.trim());
}

function isBearerItem(item: string): boolean {
  return item.toLowerCase().startsWith(BEARER_ITEM);
}

function decodeItem(item: string): string {
  const encoded = item.slice(BEARER_ITEM.length);
  const token = Buffer.from(encoded, "base64url").toString("latin1");
  const wellFormed = /^[A-Za-z0-9_-]+$/.test(encoded) && Buffer.from(token, "latin1").toString("base64url") === encoded;
  if (!wellFormed) {
    throw new ConnectError("CC_TOKEN_INVALID", "The token in Sec-WebSocket-Protocol is not base64url without padding");
  }
  return parseBearer(`Bearer ${token}`);
}
