import { type ClientRequest, type IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { pipeline } from "node:stream/promises";
import { toHeaderLines, withoutHopByHop } from "@cluster-connect/auth";
import { type Clock, onAbort } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import type { Admitted } from "../admission/admit.ts";
import { answerHeaders } from "../admission/upstream-headers.ts";
import { unreachable } from "../apiserver/answer.ts";
import { finalMessageOf } from "../ending/final-message.ts";
import { endOfLife } from "../ending/lifetime.ts";
import { spliceUpgrade } from "../ending/splice-upgrade.ts";
import { tokenExpired } from "../ending/under-way.ts";
import { withDeadline } from "../limits/deadline.ts";
import { CLOSE_TIMEOUT_MS, UPGRADE_TIMEOUT_MS } from "../limits/limits.ts";
import { describeRequest } from "../observe/info.ts";
import type { RequestRecord } from "../observe/record.ts";
import type { Arrival } from "./arrival.ts";
import { isOwnTokenRefused, openUpgrade, ownTokenRefused } from "./exchange.ts";
import type { HttpProxyDeps } from "./http.ts";
import { http1Caller, http1Head } from "./http1-caller.ts";
import { linger } from "./linger.ts";
import { cancelled, replyWithError } from "./reply.ts";
import { settledOrGone } from "./settled-or-gone.ts";

/**
 * Takes one upgrade to the apiserver. Never rejects.
 *
 * The caller's bytes are held until the apiserver's own 101. After any other answer both streams are closed, so that no
 * byte of the caller can follow our token.
 *
 * @param head Bytes that the caller sent after the request's head.
 */
export async function proxyUpgrade(
  request: IncomingMessage,
  client: Duplex,
  head: Buffer,
  { origin, gone }: Arrival,
  deps: HttpProxyDeps,
): Promise<void> {
  const requestHead = http1Head(request);
  const info = { ...describeRequest(requestHead.method, requestHead.target), long: true };
  const record = deps.requestLog.begin(origin, info);
  client.on("error", () => {}); // close follows
  let admitted: Admitted | undefined;
  try {
    admitted = await deps.admit({ head: requestHead, origin, kind: "upgrade" }, record, { signal: gone });
    record.allowed = true;
    const work = upgrade(request, client, head, { admitted, record, gone }, deps);
    await settledOrGone(work, gone, deps.clock);
  } catch (error) {
    if (record.status === 101) {
      record.code = error instanceof ConnectError ? error.code : "CC_STREAM_RESET";
      record.reason = error instanceof ConnectError ? error.message : "The stream broke off";
    } else {
      const response = responseOn(request, client);
      const caller = http1Caller(request, response);
      replyWithError(caller, gone.aborted ? cancelled(error) : error, record, { close: true, gone });
      await finished(response, client, deps.clock);
    }
  } finally {
    linger(client, deps.clock);
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
  options: { readonly admitted: Admitted; readonly record: RequestRecord; readonly gone: AbortSignal },
  deps: HttpProxyDeps,
): Promise<void> {
  const { admitted, record, gone } = options;
  const ended = new AbortController();
  const leave = deps.underWay.add({
    endsAt: endOfLife(
      { long: true, startedAt: record.startedAt, expiresAt: admitted.principal.expiresAt },
      deps.longStreams,
    ),
    endReason: tokenExpired(),
    fault: admitted.fault,
    end: (reason) => ended.abort(reason),
  });
  const over = AbortSignal.any([gone, ended.signal]);
  // Checking who is calling took a while.
  if (over.aborted) leave();
  over.throwIfAborted();
  const { outgoing, token } = openUpgrade({ method: request.method ?? "", target: request.url ?? "" }, admitted, deps);
  const destroy = (): void => {
    outgoing.destroy();
  };
  const leaveOver = onAbort(over, destroy);
  try {
    outgoing.end();
    const what = "The kube-apiserver's answer to the upgrade";
    const deadline = { ms: UPGRADE_TIMEOUT_MS, what, signal: over };
    const result = await withDeadline(deadline, (signal) => upgradeAnswer(outgoing, signal), deps.clock);
    if (result.kind === "answered") {
      if (await isOwnTokenRefused(result.answer.statusCode ?? 0, token, deps, over)) throw ownTokenRefused();
      await passRefusal(request, client, result.answer, record, deps.clock);
      return;
    }
    const { answer, socket, head: upstreamHead } = result;
    try {
      assertSwitched(answer, admitted.upgrade ?? "");
      record.status = 101;
      client.write(switchingHead(answer, admitted.upgrade ?? ""), "latin1");
      if (head.length > 0) socket.write(head);
      const finalMessage = finalMessageOf(admitted.upgrade ?? "", streamProtocolOf(answer));
      const onBytes = (count: number): void => {
        record.bytes += count;
      };
      await spliceUpgrade(client, socket, upstreamHead, { finalMessage, gone, ended: ended.signal, onBytes }, deps);
    } finally {
      socket.destroy();
    }
  } catch (error) {
    throw ended.signal.aborted ? ended.signal.reason : error;
  } finally {
    leaveOver();
    outgoing.destroy();
    leave();
  }
}

function upgradeAnswer(outgoing: ClientRequest, signal: AbortSignal): Promise<UpgradeAnswer> {
  return new Promise((resolve, reject) => {
    onAbort(signal, () => {
      reject(signal.reason);
      outgoing.destroy();
    });
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
  clock: Clock,
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
  await finished(response, client, clock);
}

function responseOn(request: IncomingMessage, client: Duplex): ServerResponse {
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  response.assignSocket(request.socket);
  if (request.socket !== client) throw new Error("an upgrade has one socket");
  return response;
}

/** Waits until an answer is sent; a caller who does not read it is not waited for long. */
function finished(response: ServerResponse, client: Duplex, clock: Clock): Promise<void> {
  if (response.writableFinished || response.destroyed || client.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      timer.cancel();
      resolve();
    };
    const timer = clock.setTimer(CLOSE_TIMEOUT_MS, () => {
      client.destroy();
      done();
    });
    response.once("finish", done);
    response.once("close", done);
    client.once("close", done);
  });
}
