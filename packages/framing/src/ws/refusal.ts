import type { IncomingMessage } from "node:http";
import { STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import { isTransientStatus } from "@cluster-connect/base";
import { ConnectError, ERRORS, isErrorCode } from "@cluster-connect/protocol";

/** More than any refusal of ours; a longer body has another sender. */
const MAX_BODY_BYTES = 8_192;

/** Answers an upgrade request with an error: its HTTP status, and code and message as JSON. */
export function refuseUpgrade(socket: Duplex, error: ConnectError): void {
  const status = ERRORS[error.code].http;
  const body = JSON.stringify({ code: error.code, message: error.message });
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "Refused"}`,
    "Connection: close",
    "Content-Type: application/json",
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...(error.retryAfterMs === undefined ? [] : [`Retry-After: ${Math.ceil(error.retryAfterMs / 1_000)}`]),
  ];
  socket.on("error", () => {});
  socket.once("finish", () => socket.destroy());
  socket.end(`${lines.join("\r\n")}\r\n\r\n${body}`);
}

/** The mirror of {@link refuseUpgrade}: the meaning of an answer other than 101. */
export async function readRefusal(host: string, response: IncomingMessage): Promise<ConnectError> {
  const status = response.statusCode ?? 0;
  const retryAfterS = Number(response.headers["retry-after"] ?? Number.NaN);
  const retry = Number.isFinite(retryAfterS) && retryAfterS > 0 ? { retryAfterMs: retryAfterS * 1_000 } : {};
  const said = parseRefusal(await readBody(response));
  if (said !== undefined) return new ConnectError(said.code, said.message, retry);
  const name = STATUS_CODES[status] ?? "unknown";
  if (isTransientStatus(status)) {
    return new ConnectError("CC_RELAY_UNREACHABLE", `${host} answered ${status} (${name}): no relay behind it`, retry);
  }
  return new ConnectError("CC_RELAY_REFUSED", `${host} answered ${status} (${name}) instead of a channel`, retry);
}

async function readBody(response: IncomingMessage): Promise<string> {
  let body = "";
  response.setEncoding("utf8");
  try {
    for await (const chunk of response) {
      body += String(chunk);
      if (body.length > MAX_BODY_BYTES) return "";
    }
  } catch {
    // A body that breaks off says nothing; the status is enough.
    return "";
  }
  return body;
}

function parseRefusal(body: string): { readonly code: ConnectError["code"]; readonly message: string } | undefined {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null || !("code" in value) || !("message" in value)) return undefined;
  const { code, message } = value;
  if (!isErrorCode(code) || typeof message !== "string") return undefined;
  return { code, message: message.slice(0, 1_024) };
}
