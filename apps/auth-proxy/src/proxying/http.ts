import { pipeline } from "node:stream/promises";
import { headerValues, toHeaderLines } from "@cluster-connect/auth";
import { type Clock, onAbort } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import type { Admit, Admitted } from "../admission/admit.ts";
import { answerHeaders } from "../admission/upstream-headers.ts";
import { isUntrusted, unreachable } from "../apiserver/answer.ts";
import type { UpstreamAnswer, UpstreamCall } from "../apiserver/call.ts";

import { endOfLife, type LongStreamPolicy } from "../ending/lifetime.ts";
import { tokenExpired, type UnderWay } from "../ending/under-way.ts";
import { BODY_IDLE_MS, END_FLUSH_MS, LONG_IDLE_MS, UNREAD_MS } from "../limits/limits.ts";
import { describeRequest } from "../observe/info.ts";
import type { RequestLog } from "../observe/log.ts";
import type { RequestRecord } from "../observe/record.ts";
import type { Arrival } from "./arrival.ts";
import { bodyChunks } from "./body-chunks.ts";
import type { HttpCaller } from "./caller.ts";
import { type ExchangeDeps, isOwnTokenRefused, openCall, ownTokenRefused } from "./exchange.ts";
import { cancelled, replyWithError } from "./reply.ts";
import { takeBody } from "./request-body.ts";
import { settledOrGone } from "./settled-or-gone.ts";
import { watchErrorEvent } from "./status-body.ts";
import { passedTrailers } from "./trailers.ts";

export interface HttpProxyDeps extends ExchangeDeps {
  readonly admit: Admit;
  readonly requestLog: RequestLog;
  readonly underWay: UnderWay;
  readonly longStreams: LongStreamPolicy;
  readonly clock: Clock;
}

const NEWLINE = 0x0a;
const SAFE_METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);
/** Each of a fresh token, a fresh CA and a fresh stream may cost one. */
const MAX_ATTEMPTS = 4;

/** Takes one request to the apiserver and its answer back. Never rejects. */
export async function proxyHttp(caller: HttpCaller, { origin, gone }: Arrival, deps: HttpProxyDeps): Promise<void> {
  const { head } = caller;
  const record = deps.requestLog.begin(origin, describeRequest(head.method, head.target));
  let admitted: Admitted | undefined;
  try {
    const kind = record.info.long ? "long" : "short";
    admitted = await deps.admit({ head, origin, kind }, record, { signal: gone });
    record.allowed = true;
    await settledOrGone(forward(caller, { admitted, record, signal: gone }, deps), gone, deps.clock);
  } catch (error) {
    replyWithError(caller, gone.aborted ? cancelled(error) : error, record, { close: !caller.bodyEnded(), gone });
  } finally {
    caller.dropRest();
    admitted?.leave();
    deps.requestLog.end(record);
  }
}

async function forward(
  caller: HttpCaller,
  options: { readonly admitted: Admitted; readonly record: RequestRecord; readonly signal: AbortSignal },
  deps: HttpProxyDeps,
): Promise<void> {
  const { admitted, record, signal } = options;
  if (caller.expectsContinue) caller.sendContinue();
  const ended = new AbortController();
  const stalled = stallDetector(caller, { long: record.info.long, now: deps.clock.now });
  const leave = deps.underWay.add({
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
      if (reason.code === "CC_TOKEN_ISSUER") caller.retire();
      destroyUnlessClosed(caller, deps.clock);
    },
  });
  const over = AbortSignal.any([signal, ended.signal]);
  try {
    const answered = await exchange(caller, admitted, over, deps);
    await passAnswer(caller, answered, { record, ended: ended.signal });
  } catch (error) {
    throw ended.signal.aborted ? ended.signal.reason : error;
  } finally {
    leave();
  }
}

interface Answered {
  readonly answer: UpstreamAnswer;
  readonly call: UpstreamCall;
}

/**
 * Sends the request; again where the apiserver has certainly not acted on it: our own token or CA had been replaced, it
 * said so itself, or a stream that had been idle was closed under a request that changes nothing.
 */
async function exchange(
  caller: HttpCaller,
  admitted: Admitted,
  signal: AbortSignal,
  deps: HttpProxyDeps,
): Promise<Answered> {
  const { method, target } = caller.head;
  const body = await takeBody(caller, admitted.framing, { signal });
  for (let attempt = 1; ; attempt += 1) {
    signal.throwIfAborted();
    const again = body.repeatable && attempt < MAX_ATTEMPTS;
    let call: UpstreamCall | undefined;
    try {
      const opened = await openCall({ method, target }, admitted, { signal }, deps);
      call = opened.call;
      destroyOn(signal, call);
      body.send(call);
      const answer = await call.answer();
      if (!(await isOwnTokenRefused(answer.status, opened.token, deps, signal))) return { answer, call };
      answer.body.destroy();
      if (!again || deps.account.token() === opened.token) throw ownTokenRefused();
    } catch (error) {
      if (signal.aborted || !again) throw error;
      const fate = call?.fate(error);
      const repeatable = fate === "untaken" || (fate === "closedWhenReused" && SAFE_METHODS.has(method));
      const trustedNow = isUntrusted(error) && (await deps.account.untrusted());
      if (!repeatable && !trustedNow) throw error;
    }
  }
}

async function passAnswer(
  caller: HttpCaller,
  { answer, call }: Answered,
  { record, ended }: { readonly record: RequestRecord; readonly ended: AbortSignal },
): Promise<void> {
  const { status, message } = answer;
  record.status = status;
  const headers = answerHeaders(toHeaderLines(answer.headers));
  // The rest of an unread body would be read as the next request.
  caller.sendHead({ status, message, headers, date: false, close: !caller.bodyEnded() });
  // A late failure of the request's own body says nothing about the answer.
  call.body.on("error", () => {});
  answer.body.once("end", () => caller.addTrailers(passedTrailers(answer.trailers())));
  await pipeline(answerBody(answer, record, ended), caller.answer);
}

/** The answer's bytes. A watch that time ends tells so in an event of its own, anything else just breaks off. */
async function* answerBody(
  answer: UpstreamAnswer,
  record: RequestRecord,
  ended: AbortSignal,
): AsyncGenerator<Buffer, void, undefined> {
  let last = NEWLINE;
  try {
    for await (const bytes of bodyChunks(answer.body)) {
      record.bytes += bytes.length;
      last = bytes.at(-1) ?? last;
      yield bytes;
    }
    if (!answer.complete()) throw unreachable(new Error("cut"));
  } catch (error) {
    const reason: unknown = ended.aborted ? ended.reason : undefined;
    if (!(reason instanceof ConnectError)) throw unreachable(error);
    if (!record.info.watch || !isPlainJson(answer) || last !== NEWLINE) throw reason;
    yield watchErrorEvent(reason);
  }
}

/** An end that can be told within the answer: one JSON object for each line and nothing around it. */
function isPlainJson(answer: UpstreamAnswer): boolean {
  const lines = toHeaderLines(answer.headers);
  const [type = ""] = headerValues(lines, "content-type");
  return type.startsWith("application/json") && headerValues(lines, "content-encoding").length === 0;
}

/** Finds a caller who sends or reads nothing while it is their turn. */
function stallDetector(
  caller: HttpCaller,
  { long, now }: { readonly long: boolean; readonly now: () => number },
): (at: number) => ConnectError | undefined {
  const limits = long ? { body: LONG_IDLE_MS, unread: LONG_IDLE_MS } : { body: BODY_IDLE_MS, unread: UNREAD_MS };
  let last = { at: now(), moved: caller.moved() };
  return (at) => {
    if (caller.isGone()) return new ConnectError("CC_CANCELLED", "The caller gave up");
    const moved = caller.moved();
    if (moved !== last.moved) {
      last = { at, moved };
      return undefined;
    }
    const idle = at - last.at;
    const waitsForBody = !caller.bodyEnded() && !caller.body.isPaused() && !caller.headSent();
    if (waitsForBody && idle >= limits.body) {
      return new ConnectError("CC_TIMEOUT", "The request's body has not gone on in time");
    }
    if (caller.answer.writableNeedDrain && idle >= limits.unread) {
      return new ConnectError("CC_TIMEOUT", "The answer was not read in time");
    }
    return undefined;
  };
}

/** A caller who does not read would hold up an end that is told within the answer. */
function destroyUnlessClosed(caller: HttpCaller, clock: Clock): void {
  const { answer } = caller;
  if (answer.destroyed) return;
  const timer = clock.setTimer(answer.writableNeedDrain ? 0 : END_FLUSH_MS, () => caller.cut());
  answer.once("close", () => timer.cancel());
}

function destroyOn(signal: AbortSignal, { body }: UpstreamCall): void {
  const destroy = (): void => {
    body.destroy();
  };
  body.once("close", onAbort(signal, destroy));
}
