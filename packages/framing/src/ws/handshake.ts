import { createHash } from "node:crypto";
import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { ConnectError, SUBPROTOCOL } from "@cluster-connect/protocol";

/** RFC 6455, section 1.3. */
const ACCEPT_SUFFIX = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const KEY = /^[A-Za-z0-9+/]{22}==$/;

/** An acceptor's answer to a key. */
function acceptKeyOf(key: string): string {
  return createHash("sha1").update(`${key}${ACCEPT_SUFFIX}`).digest("base64");
}

/**
 * The headers of the answer to an upgrade request.
 *
 * @throws ConnectError `CC_VERSION_UNSUPPORTED` without our subprotocol, `CC_REQUEST_REFUSED` for anything that is no
 *   WebSocket upgrade.
 */
export function answerUpgrade(request: IncomingMessage): readonly string[] {
  const { headers } = request;
  const key = headers["sec-websocket-key"];
  const isUpgrade = request.method === "GET" && headers.upgrade?.toLowerCase() === "websocket";
  if (!isUpgrade || key === undefined || !KEY.test(key) || headers["sec-websocket-version"] !== "13") {
    throw new ConnectError("CC_REQUEST_REFUSED", "The request is no WebSocket upgrade");
  }
  if (!listed(headers["sec-websocket-protocol"]).includes(SUBPROTOCOL)) {
    throw new ConnectError("CC_VERSION_UNSUPPORTED", `The subprotocol ${SUBPROTOCOL} is needed`);
  }
  return [
    "HTTP/1.1 101 Switching Protocols",
    "Upgrade: websocket",
    "Connection: Upgrade",
    `Sec-WebSocket-Accept: ${acceptKeyOf(key)}`,
    `Sec-WebSocket-Protocol: ${SUBPROTOCOL}`,
  ];
}

/** Whether the answer to an upgrade is the one that was asked for: our protocol, our key, no extension. */
export function isOurAnswer(headers: IncomingHttpHeaders, key: string): boolean {
  return (
    headers.upgrade?.toLowerCase() === "websocket" &&
    headers["sec-websocket-accept"] === acceptKeyOf(key) &&
    headers["sec-websocket-protocol"] === SUBPROTOCOL &&
    headers["sec-websocket-extensions"] === undefined
  );
}

function listed(header: string | undefined): string[] {
  return (header ?? "").split(",").map((name) => name.trim());
}
