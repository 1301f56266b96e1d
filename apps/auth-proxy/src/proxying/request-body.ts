import { ConnectError } from "@cluster-connect/protocol";
import type { Framing } from "../admission/rules.ts";
import type { UpstreamCall } from "../apiserver/call.ts";
import { REPEATABLE_BODY_BYTES } from "../limits/limits.ts";
import type { HttpCaller } from "./caller.ts";
import { passedTrailers } from "./trailers.ts";

/** A request's body on its way to the apiserver. */
export interface RequestBody {
  /** Whether it can be sent once more, because nothing of it is gone. */
  readonly repeatable: boolean;
  /** Sends it whole, or passes it on as it comes; ends the call with it. */
  send(call: UpstreamCall): void;
}

/**
 * A small body is read before anything is sent, so that a request that the apiserver did not take can be repeated;
 * a large one, or one of unknown length, is passed on as it comes.
 *
 * @throws ConnectError `CC_CANCELLED` when a small body breaks off.
 */
export async function takeBody(
  caller: HttpCaller,
  framing: Framing,
  options: { readonly signal: AbortSignal },
): Promise<RequestBody> {
  if (framing.kind === "chunked" || (framing.kind === "length" && framing.bytes > REPEATABLE_BODY_BYTES)) {
    return { repeatable: false, send: (call) => passOn(caller, call) };
  }
  const body = framing.kind === "none" || framing.bytes === 0 ? undefined : await readWhole(caller, options.signal);
  return {
    repeatable: true,
    send: (call) => {
      call.body.end(body);
    },
  };
}

/** Leaves the stream usable when it is given up, so that the caller can be told. */
function readWhole(caller: HttpCaller, signal: AbortSignal): Promise<Buffer> {
  const { body } = caller;
  if (body.closed && !caller.bodyEnded()) return Promise.reject(brokenOff());
  if (body.readableEnded) return Promise.resolve(Buffer.alloc(0));
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const onData = (chunk: Buffer): void => {
      chunks.push(chunk);
    };
    const settle = (): void => {
      body.off("data", onData);
      body.off("end", onEnd);
      body.off("close", onBroken);
      signal.removeEventListener("abort", onAbort);
    };
    const onEnd = (): void => {
      if (!caller.bodyEnded()) return; // close follows
      settle();
      resolve(Buffer.concat(chunks));
    };
    const onBroken = (): void => {
      settle();
      reject(brokenOff());
    };
    const onAbort = (): void => {
      settle();
      reject(signal.reason);
    };
    body.on("error", () => {}); // close follows
    body.on("data", onData);
    body.once("end", onEnd);
    body.once("close", onBroken);
    signal.addEventListener("abort", onAbort, { once: true });
  });
}

/** A body that breaks off here breaks off there. */
function passOn(caller: HttpCaller, call: UpstreamCall): void {
  const from = caller.body;
  const to = call.body;
  const stop = (): void => {
    if (!caller.bodyEnded()) to.destroy();
  };
  const finish = (): void => {
    stop();
    if (!caller.bodyEnded()) return;
    call.addTrailers(passedTrailers(caller.trailers()));
    to.end();
  };
  // An empty body has ended before anything was read from it.
  if (from.readableEnded || from.closed) {
    finish();
    return;
  }
  from.once("close", stop);
  from.on("error", stop);
  from.once("end", finish);
  to.once("close", () => {
    from.off("close", stop);
    from.off("error", stop);
  });
  from.pipe(to, { end: false });
}

function brokenOff(): ConnectError {
  return new ConnectError("CC_CANCELLED", "The request's body broke off");
}
