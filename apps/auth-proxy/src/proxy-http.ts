import type { ClientRequest, IncomingMessage, ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";
import { toHeaderLines } from "@cluster-connect/auth";
import { ConnectError } from "@cluster-connect/protocol";
import type { Admit, Admitted } from "./admission.ts";
import { type ExchangeDeps, isOwnTokenRefused, openExchange, ownTokenRefused } from "./exchange.ts";
import { endOfLife, type LongStreamPolicy } from "./lifetime.ts";
import { BODY_IDLE_MS, END_FLUSH_MS, UNREAD_MS } from "./limits.ts";
import { type Live, tokenExpired } from "./live.ts";
import type { StreamOrigin } from "./proxy-header.ts";
import { replyWithError } from "./reply.ts";
import { takeBody } from "./request-body.ts";
import { describeRequest } from "./request-info.ts";
import type { RequestLog, RequestRecord } from "./request-log.ts";
import { watchErrorEvent } from "./status-body.ts";
import { answerTo, isReset, isUntrusted, unreachable } from "./upstream.ts";
import { answerHeaders } from "./upstream-headers.ts";

export interface ProxyDeps extends ExchangeDeps {
  readonly admit: Admit;
  readonly requestLog: RequestLog;
  readonly live: Live;
  readonly longStreams: LongStreamPolicy;
  readonly now: () => number;
}

const NEWLINE = 0x0a;
const SAFE_METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);
/** Each of a fresh token, a fresh CA and a fresh stream may cost one. */
const MAX_ATTEMPTS = 4;

/** Takes one request to the apiserver and its answer back. Never rejects. */
export async function proxyHttp(
  request: IncomingMessage,
  response: ServerResponse,
  origin: StreamOrigin,
  deps: ProxyDeps,
): Promise<void> {
  const head = {
    method: request.method ?? "",
    target: request.url ?? "",
    httpVersion: request.httpVersion,
    lines: toHeaderLines(request.rawHeaders),
  };
  const record = deps.requestLog.begin(origin, describeRequest(head.method, head.target));
  const gone = new AbortController();
  response.once("close", () => gone.abort());
  let admitted: Admitted | undefined;
  try {
    admitted = await deps.admit({ head, origin, upgrade: false }, record, { signal: gone.signal });
    record.allowed = true;
    await forward(request, response, admitted, record, gone.signal, deps);
  } catch (error) {
    replyWithError(response, gone.signal.aborted ? cancelled(error) : error, record, { close: !request.complete });
  } finally {
    admitted?.leave();
    deps.requestLog.end(record);
  }
}

async function forward(
  request: IncomingMessage,
  response: ServerResponse,
  admitted: Admitted,
  record: RequestRecord,
  signal: AbortSignal,
  deps: ProxyDeps,
): Promise<void> {
  if (request.headers.expect !== undefined) response.writeContinue();
  const ended = new AbortController();
  const stalled = stallDetector(request, response, deps.now);
  const leave = deps.live.add({
    endsAt: endOfLife(
      { ...record.info, startedAt: record.startedAt, expiresAt: admitted.principal.expiresAt },
      deps.longStreams,
    ),
    endReason: tokenExpired(),
    fault: (now) => admitted.fault() ?? stalled(now),
    end: (reason) => {
      record.code = reason.code;
      record.reason = reason.message;
      ended.abort(reason);
      destroyUnlessClosed(response);
    },
  });
  const over = AbortSignal.any([signal, ended.signal]);
  try {
    const { answer, outgoing } = await exchange(request, admitted, over, deps);
    await passAnswer(request, response, answer, outgoing, record, ended.signal);
  } catch (error) {
    throw ended.signal.aborted ? ended.signal.reason : error;
  } finally {
    leave();
  }
}

interface Answered {
  readonly answer: IncomingMessage;
  readonly outgoing: ClientRequest;
}

/**
 * Sends the request; again where the apiserver has certainly not acted on it: our own token or CA had been replaced, or
 * a stream that had been idle was closed under a request that changes nothing.
 */
async function exchange(
  request: IncomingMessage,
  admitted: Admitted,
  signal: AbortSignal,
  deps: ProxyDeps,
): Promise<Answered> {
  const { method = "", url: target = "" } = request;
  const body = await takeBody(request, admitted.framing, { signal });
  for (let attempt = 1; ; attempt += 1) {
    signal.throwIfAborted();
    const { outgoing, token } = openExchange({ method, target }, admitted, deps);
    destroyOn(signal, outgoing);
    const again = body.repeatable && attempt < MAX_ATTEMPTS;
    try {
      body.send(outgoing);
      const answer = await answerTo(outgoing);
      if (!(await isOwnTokenRefused(answer, token, deps, signal))) return { answer, outgoing };
      answer.destroy();
      if (!again || deps.account.token() === token) throw ownTokenRefused();
    } catch (error) {
      if (signal.aborted || !again) throw error;
      const closedUnderIt = outgoing.reusedSocket && isReset(error) && SAFE_METHODS.has(method);
      const trustedNow = isUntrusted(error) && (await deps.account.untrusted());
      if (!closedUnderIt && !trustedNow) throw error;
    }
  }
}

async function passAnswer(
  request: IncomingMessage,
  response: ServerResponse,
  answer: IncomingMessage,
  outgoing: ClientRequest,
  record: RequestRecord,
  ended: AbortSignal,
): Promise<void> {
  record.status = answer.statusCode ?? 0;
  const headers = answerHeaders(toHeaderLines(answer.rawHeaders));
  // What is left of a body that nobody wants would be read as the next request.
  if (!request.complete) headers.push("Connection", "close");
  response.sendDate = false;
  response.writeHead(record.status, answer.statusMessage ?? "", headers);
  response.flushHeaders();
  // A late failure of the request's own body says nothing about the answer.
  outgoing.on("error", () => {});
  await pipeline(answerBody(answer, record, ended), response);
}

/** The answer's bytes. A watch that time ends tells so in an event of its own, anything else just breaks off. */
async function* answerBody(
  answer: IncomingMessage,
  record: RequestRecord,
  ended: AbortSignal,
): AsyncGenerator<Buffer, void, undefined> {
  let last = NEWLINE;
  try {
    for await (const chunk of answer) {
      const bytes: Buffer = chunk;
      record.bytes += bytes.length;
      last = bytes.at(-1) ?? last;
      yield bytes;
    }
  } catch (error) {
    const reason: unknown = ended.aborted ? ended.reason : undefined;
    if (!(reason instanceof ConnectError)) throw unreachable(error);
    if (!record.info.watch || !isPlainJson(answer) || last !== NEWLINE) throw reason;
    yield watchErrorEvent(reason);
  }
}

/** An end that can be told within the answer: one JSON object for each line and nothing around it. */
function isPlainJson(answer: IncomingMessage): boolean {
  const type = answer.headers["content-type"] ?? "";
  return type.startsWith("application/json") && answer.headers["content-encoding"] === undefined;
}

/** Finds a caller who sends or reads nothing while it is their turn. */
function stallDetector(
  request: IncomingMessage,
  response: ServerResponse,
  now: () => number,
): (at: number) => ConnectError | undefined {
  const { socket } = request;
  let moved = { at: now(), read: socket.bytesRead, written: socket.bytesWritten };
  return (at) => {
    const { bytesRead: read, bytesWritten: written } = socket;
    if (read !== moved.read || written !== moved.written) {
      moved = { at, read, written };
      return undefined;
    }
    const idle = at - moved.at;
    const waitsForBody = !request.complete && !request.isPaused() && !response.headersSent;
    if (waitsForBody && idle >= BODY_IDLE_MS) {
      return new ConnectError("CC_TIMEOUT", "The request's body has not gone on in time");
    }
    if (response.writableNeedDrain && idle >= UNREAD_MS) {
      return new ConnectError("CC_TIMEOUT", "The answer was not read in time");
    }
    return undefined;
  };
}

/** A caller who does not read would hold up an end that is told within the answer. */
function destroyUnlessClosed(response: ServerResponse): void {
  const timer = setTimeout(() => response.destroy(), response.writableNeedDrain ? 0 : END_FLUSH_MS);
  response.once("close", () => clearTimeout(timer));
}

function destroyOn(signal: AbortSignal, outgoing: ClientRequest): void {
  const destroy = (): void => {
    outgoing.destroy();
  };
  if (signal.aborted) destroy();
  signal.addEventListener("abort", destroy, { once: true });
  outgoing.once("close", () => signal.removeEventListener("abort", destroy));
}

function cancelled(cause: unknown): ConnectError {
  return new ConnectError("CC_CANCELLED", "The caller gave up", { cause });
}
