import { type ClientRequest, type IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { pipeline } from "node:stream/promises";
import { toHeaderLines, withoutHopByHop } from "@cluster-connect/auth";
import { ConnectError } from "@cluster-connect/protocol";
import type { Admitted } from "./admission.ts";
import { withDeadline } from "./deadline.ts";
import { isOwnTokenRefused, openExchange, ownTokenRefused } from "./exchange.ts";
import { lastWordOf } from "./last-word.ts";
import { endOfLife } from "./lifetime.ts";
import { CLOSE_TIMEOUT_MS, UPGRADE_TIMEOUT_MS } from "./limits.ts";
import { tokenExpired } from "./live.ts";
import type { StreamOrigin } from "./proxy-header.ts";
import type { ProxyDeps } from "./proxy-http.ts";
import { replyWithError } from "./reply.ts";
import { describeRequest } from "./request-info.ts";
import type { RequestRecord } from "./request-log.ts";
import { spliceUpgrade } from "./splice-upgrade.ts";
import { unreachable } from "./upstream.ts";
import { answerHeaders } from "./upstream-headers.ts";

/**
 * Takes one upgrade to the apiserver. Never rejects.
 *
 * The caller's bytes are held until the apiserver's own 101; after any other answer both streams are closed, so that
 * nothing the caller sends can follow our token.
 *
 * @param head What the caller sent after the request's head.
 */
export async function proxyUpgrade(
  request: IncomingMessage,
  client: Duplex,
  head: Buffer,
  origin: StreamOrigin,
  deps: ProxyDeps,
): Promise<void> {
  const requestHead = {
    method: request.method ?? "",
    target: request.url ?? "",
    httpVersion: request.httpVersion,
    lines: toHeaderLines(request.rawHeaders),
  };
  const info = { ...describeRequest(requestHead.method, requestHead.target), long: true };
  const record = deps.requestLog.begin(origin, info);
  const gone = new AbortController();
  client.on("error", () => gone.abort());
  client.once("close", () => gone.abort());
  let admitted: Admitted | undefined;
  try {
    admitted = await deps.admit({ head: requestHead, origin, upgrade: true }, record, { signal: gone.signal });
    record.allowed = true;
    await upgrade(request, client, head, admitted, record, gone.signal, deps);
  } catch (error) {
    if (record.status === 101) {
      record.code = error instanceof ConnectError ? error.code : "CC_STREAM_RESET";
      record.reason = error instanceof ConnectError ? error.message : "The stream broke off";
    } else {
      const response = responseOn(request, client);
      replyWithError(response, error, record, { close: true });
      await finished(response, client);
    }
  } finally {
    closeSoon(client);
    admitted?.leave();
    deps.requestLog.end(record);
  }
}

type UpgradeAnswer =
  | { readonly kind: "switched"; readonly answer: IncomingMessage; readonly socket: Duplex; readonly head: Buffer }
  | { readonly kind: "answered"; readonly answer: IncomingMessage };

async function upgrade(
  request: IncomingMessage,
  client: Duplex,
  head: Buffer,
  admitted: Admitted,
  record: RequestRecord,
  gone: AbortSignal,
  deps: ProxyDeps,
): Promise<void> {
  const ended = new AbortController();
  const leave = deps.live.add({
    endsAt: endOfLife(
      { long: true, startedAt: record.startedAt, expiresAt: admitted.principal.expiresAt },
      deps.longStreams,
    ),
    endReason: tokenExpired(),
    fault: admitted.fault,
    end: (reason) => ended.abort(reason),
  });
  const over = AbortSignal.any([gone, ended.signal]);
  const { outgoing, token } = openExchange({ method: request.method ?? "", target: request.url ?? "" }, admitted, deps);
  const destroy = (): void => {
    outgoing.destroy();
  };
  over.addEventListener("abort", destroy, { once: true });
  try {
    outgoing.end();
    const what = "The kube-apiserver's answer to the upgrade";
    const deadline = { ms: UPGRADE_TIMEOUT_MS, what, signal: over };
    const result = await withDeadline(deadline, (signal) => upgradeAnswer(outgoing, signal));
    if (result.kind === "answered") {
      if (await isOwnTokenRefused(result.answer, token, deps, over)) throw ownTokenRefused();
      await passRefusal(request, client, result.answer, record);
      return;
    }
    const { answer, socket, head: upstreamHead } = result;
    try {
      assertSwitched(answer, admitted.upgrade ?? "");
      record.status = 101;
      client.write(switchingHead(answer, admitted.upgrade ?? ""), "latin1");
      if (head.length > 0) socket.write(head);
      await spliceUpgrade(client, socket, upstreamHead, {
        lastWord: lastWordOf(admitted.upgrade ?? "", streamProtocolOf(answer)),
        gone,
        ended: ended.signal,
        onBytes: (count) => {
          record.bytes += count;
        },
      });
    } finally {
      socket.destroy();
    }
  } catch (error) {
    throw ended.signal.aborted ? ended.signal.reason : error;
  } finally {
    over.removeEventListener("abort", destroy);
    outgoing.destroy();
    leave();
  }
}

function upgradeAnswer(outgoing: ClientRequest, signal: AbortSignal): Promise<UpgradeAnswer> {
  return new Promise((resolve, reject) => {
    signal.addEventListener(
      "abort",
      () => {
        reject(signal.reason);
        outgoing.destroy();
      },
      { once: true },
    );
    outgoing.once("upgrade", (answer, socket, head) => resolve({ kind: "switched", answer, socket, head }));
    outgoing.once("response", (answer) => resolve({ kind: "answered", answer }));
    outgoing.on("error", (cause) => reject(unreachable(cause)));
    outgoing.once("close", () => reject(unreachable(new Error("closed"))));
  });
}

function assertSwitched(answer: IncomingMessage, asked: string): void {
  const protocol = answer.headers.upgrade ?? "";
  if (answer.statusCode === 101 && protocol.toLowerCase() === asked.toLowerCase()) return;
  throw new ConnectError("CC_APISERVER_UNREACHABLE", "The kube-apiserver switched to another protocol than asked for");
}

function streamProtocolOf(answer: IncomingMessage): string {
  const value = answer.headers["x-stream-protocol-version"];
  return typeof value === "string" ? value : "";
}

function switchingHead(answer: IncomingMessage, asked: string): string {
  const lines = withoutHopByHop(toHeaderLines(answer.rawHeaders)).map(([name, value]) => `${name}: ${value}`);
  const protocol = answer.headers.upgrade ?? asked;
  return ["HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", `Upgrade: ${protocol}`, ...lines, "", ""].join(
    "\r\n",
  );
}

/** The apiserver's own word against the upgrade; nothing may follow it on this stream. */
async function passRefusal(
  request: IncomingMessage,
  client: Duplex,
  answer: IncomingMessage,
  record: RequestRecord,
): Promise<void> {
  const response = responseOn(request, client);
  record.status = answer.statusCode ?? 0;
  response.sendDate = false;
  const headers = [...answerHeaders(toHeaderLines(answer.rawHeaders)), "Connection", "close"];
  response.writeHead(record.status, answer.statusMessage ?? "", headers);
  answer.on("data", (chunk: Buffer) => {
    record.bytes += chunk.length;
  });
  await pipeline(answer, response);
  await finished(response, client);
}

function responseOn(request: IncomingMessage, client: Duplex): ServerResponse {
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  response.assignSocket(request.socket);
  if (request.socket !== client) throw new Error("an upgrade has one socket");
  return response;
}

/** Waits until an answer is sent; a caller who does not read it is not waited for long. */
function finished(response: ServerResponse, client: Duplex): Promise<void> {
  if (response.writableFinished || response.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(() => client.destroy(), CLOSE_TIMEOUT_MS);
    const done = (): void => {
      clearTimeout(timer);
      resolve();
    };
    response.once("finish", done);
    response.once("close", done);
    client.once("close", done);
  });
}

/** Sends what is written, then closes. */
function closeSoon(client: Duplex): void {
  if (client.destroyed) return;
  const timer = setTimeout(() => client.destroy(), CLOSE_TIMEOUT_MS);
  client.once("close", () => clearTimeout(timer));
  client.end(() => client.destroy());
}
